"""The usage text: docopt parses the command line by it; tests compare the man page and the completions with it."""

from __future__ import annotations

import re
from typing import Final

USAGE: Final = """\
nitrosocks: an end-to-end encrypted tunnel inside TLS that it does not have to trust

Usage:
  nitrosocks keygen [--home DIR] [-v]... [-q]
  nitrosocks keygen NAME (--server HOST:PORT)... [--permit RULE]... [--listen ADDR]... [-o FILE] [--force]
             [--home DIR] [-v]... [-q]
  nitrosocks clients [--json] [--home DIR] [-v]... [-q]
  nitrosocks permit NAME (RULE... | (--listen ADDR)...) [--home DIR] [-v]... [-q]
  nitrosocks permit NAME --test HOST:PORT [--home DIR] [-v]... [-q]
  nitrosocks forbid NAME (RULE... | (--listen ADDR)...) [--home DIR] [-v]... [-q]
  nitrosocks revoke NAME [--home DIR] [-v]... [-q]
  nitrosocks rename OLD NEW [--home DIR] [-v]... [-q]
  nitrosocks check [--home DIR] [-v]... [-q]
  nitrosocks serve [--listen ADDR]... [(--cert FILE --key FILE)] [--cipher NAME] [--window SIZE] [--resume TIME]
             [--heartbeat TIME] [--refresh WHEN] [--drain TIME] [--carrier NAME] [--path PREFIX] [--decoy WHERE]
             [--log-format FORM] [--home DIR] [-v]... [-q]
  nitrosocks forward (-L SPEC | -R SPEC | -D SPEC)... [-i PROFILE] [-N] [-n] [-T] [-f] [--pidfile FILE]
             [--retry] [--sessions N] [--redial TIME] [--window SIZE] [--socket-mode MODE] [--socks-auth FILE]
             [--carrier NAME] [--path PREFIX] [--host-header NAME] [--require-direct] [--tls-verify] [--proxy URL]
             [--proxy-auth FILE] [-4 | -6] [--log-format FORM] [--home DIR] [-v]... [-q]
  nitrosocks connect [-i PROFILE] HOST [PORT] [--redial TIME] [--window SIZE] [--carrier NAME] [--path PREFIX]
             [--host-header NAME] [--require-direct] [--tls-verify] [--proxy URL] [--proxy-auth FILE] [-4 | -6]
             [--home DIR] [-v]... [-q]
  nitrosocks doctor [-i PROFILE] [--json] [--open HOST:PORT]... [--idle TIME] [--age TIME] [--speed]
             [--echo HOST:PORT] [--carrier NAME] [--path PREFIX] [--host-header NAME] [--require-direct] [--tls-verify]
             [--proxy URL] [--proxy-auth FILE] [-4 | -6] [--home DIR] [-v]... [-q]
  nitrosocks demo [--keep DIR] [-v]...
  nitrosocks (-h | --help)
  nitrosocks (-V | --version)

Commands:
  keygen   make the server's key and TLS certificate if they are missing, and print the key's fingerprint;
           with NAME: make a client's profile, and authorise that client
  clients  list the authorised clients: what each may reach, when it was added and last seen
  permit   let a client reach what these rules say, as well; with --test: say whether it may reach a target
  forbid   take these rules away from a client
  revoke   end a client's authorisation; its running streams end within 5 s
  rename   give a client another name; its keys, rules and profile stay
  check    read all files of the home directory, a server's or a client's, and name each fault
  serve    serve the authorised clients
  forward  listen here, and carry each connection to a target at the server's side
  connect  carry stdin and stdout to HOST:PORT, udp:HOST:PORT or unix:/path, as a ProxyCommand of ssh does
  doctor   check each step on the way to the server: what works, what does not, and what to do about it
  demo     show the tunnel at work behind a box that intercepts TLS, all on this machine

Options:
  -L SPEC              forward [bind:]port:host:hostport, as ssh does; port 0 picks a free one and prints it;
                       udp: in front is for datagrams
  -R SPEC              the same the other way round: the server listens, and the target is at this side;
                       [bind:]port alone is a proxy at the server, as -D, for what this side reaches
  -D SPEC              listen on [bind:]port as a proxy: SOCKS5, SOCKS4, SOCKS4a and HTTP
  --socket-mode MODE   octal mode of the unix sockets that -L and -D make (default 600)
  --socks-auth FILE    user:password that applications must give to -D, and to -R as a proxy, on one line
  -i PROFILE           the client profile (default $NITROSOCKS_PROFILE, default.profile or the only *.profile in DIR)
  -o FILE              where to write the profile, - for stdout (default NAME.profile)
  --home DIR           keys, certificates, profiles and clients.d (default $NITROSOCKS_HOME or ~/.config/nitrosocks)
  --server HOST:PORT   where the client finds the server; several are tried in turn
  --permit RULE        what the client may reach, as host:port; the host is a name, *, an address or a block such as
                       10.0.0.0/8, the port a number, a range or *; udp:host:port is for datagrams, /path for a socket
  --test HOST:PORT     say which rule decides whether the client may reach this, or udp:HOST:PORT, or a path; exit
                       code 77 if it may not
  --force              replace the profile and the authorisation that are there
  --listen ADDR        serve: where to listen, host:port or :port (default :8443, on all interfaces);
                       else: where the server may listen for the client, as 127.0.0.1:8000-8100, *:8080 or /run/app/*
  --cert FILE          your own TLS certificate chain, PEM
  --key FILE           its private key, PEM
  --cipher NAME        aes-256-gcm or aes-128-gcm, inside the TLS (default aes-256-gcm)
  --window SIZE        bytes of one stream in flight before its limit grows (default 256K)
  --resume TIME        how long a session waits for its client to reconnect (default 120s)
  --heartbeat TIME     how long the other side may be silent before a ping (default 20s, over http 50s)
  --refresh WHEN       renew session keys after a time, a size, or whichever comes first (default 30m,4G)
  --drain TIME         how long running streams may go on after SIGTERM (default 30s)
  --decoy WHERE        a web server, host:port or https://host, that answers all visitors that are not clients
  --sessions N         how many sessions carry the streams, at most (default 4)
  --redial TIME        move to a new connection at this age, before a proxy cuts the old one (default never)
  --retry              keep trying when the first session cannot be made
  --carrier NAME       raw, websocket or http only (default auto: the first that gets an answer; serve: all three)
  --path PREFIX        what the paths of websocket and http begin with, as in /some/path; also at the server
                       (default nothing)
  --host-header NAME   the name in the Host header of websocket and http (default the server's name)
  --require-direct     refuse to work if the TLS is intercepted
  --tls-verify         also verify the outer TLS certificate; the tunnel does not need it
  --proxy URL          go through this proxy: http, https, socks5 or socks5h; or none (default from the environment)
  --proxy-auth FILE    a file with user:password for the proxy, on one line
  --json               print everything as one JSON object
  --open HOST:PORT     check whether the server opens this target for this client; or udp:HOST:PORT, or unix:/path
  --idle TIME          check whether an idle session lives this long, and which silence it survives; 5 means 5m here
  --age TIME           check whether a connection lives this long; 5 means 5m here
  --speed              measure bytes per second to the server
  --echo HOST:PORT     measure through this target, which sends back what it gets; implies --speed
  --keep DIR           keep what the box recorded, in DIR (default: it is deleted)
  -N                   ignored, for compatibility with ssh
  -n                   the same
  -T                   the same
  -f                   go on in the background once it is ready
  --pidfile FILE       where to write the number of the process; the file is removed at the end
  -4                   reach the server over IPv4 only
  -6                   reach the server over IPv6 only
  --log-format FORM    text, or json for one object per line (default text)
  -v                   say more; twice: with times, threads, handshakes; three times: each frame, by type and size
  -q                   print errors only; serve: warnings, too
  -h --help            print this text
  -V --version         print the version

TIME is a number of seconds (90), or one with s, m or h: 90s, 5m, 2h. SIZE is a number of bytes, or one with K, M or G.

Exit codes: 0 done, 64 usage, 65 bad key or profile, 69 unreachable or refused, 70 internal error, 73 cannot create or
write, 76 not the expected server, or bytes were changed, 77 not authorised, 78 configuration; connect: 255 for all but
0 and 64; demo: 76 if the box could read something, 70 if anything else failed.
"""


def usage_of(command: str = "") -> str:
    """The usage text with the patterns of one command alone, which docopt reads in a fifth of the time; all of it where
    there is no such command."""
    before, usage, rest = USAGE.partition("Usage:\n")
    patterns, end, rest = rest.partition("\n\n")
    own = re.findall(rf"^  nitrosocks {re.escape(command)} .*(?:\n {{4,}}.*)*", patterns, re.MULTILINE)
    return "".join((before, usage, "\n".join(own) or patterns, end, rest))
