"""The usage text: docopt reads the command line by it, and tests hold man page and completions against it."""

from __future__ import annotations

from typing import Final

USAGE: Final = """\
nitrosocks: an end-to-end tunnel inside TLS that cannot be trusted

Usage:
  nitrosocks keygen [--home DIR] [-v]... [-q]
  nitrosocks keygen NAME (--server HOST:PORT)... [--permit RULE]... [-o FILE] [--force] [--home DIR] [-v]... [-q]
  nitrosocks serve [--listen ADDR]... [(--cert FILE --key FILE)] [--cipher NAME] [--window SIZE] [--resume SECONDS]
             [--heartbeat SECONDS] [--refresh WHEN] [--drain SECONDS] [--carrier NAME] [--path PREFIX] [--decoy WHERE]
             [--home DIR] [-v]... [-q]
  nitrosocks forward (-L SPEC)... [-i PROFILE] [-N] [--retry] [--sessions N] [--redial SECONDS] [--window SIZE]
             [--carrier NAME] [--path PREFIX] [--host-header NAME] [--require-direct] [--tls-verify] [--proxy URL]
             [--proxy-auth FILE] [-4 | -6] [--home DIR] [-v]... [-q]
  nitrosocks connect [-i PROFILE] HOST [PORT] [--redial SECONDS] [--window SIZE] [--carrier NAME] [--path PREFIX]
             [--host-header NAME] [--require-direct] [--tls-verify] [--proxy URL] [--proxy-auth FILE] [-4 | -6]
             [--home DIR] [-v]... [-q]
  nitrosocks doctor [-i PROFILE] [--json] [--open HOST:PORT]... [--idle MINUTES] [--age MINUTES] [--speed]
             [--echo HOST:PORT] [--carrier NAME] [--path PREFIX] [--host-header NAME] [--require-direct] [--tls-verify]
             [--proxy URL] [--proxy-auth FILE] [-4 | -6] [--home DIR] [-v]... [-q]
  nitrosocks demo [--keep DIR] [-v]...
  nitrosocks (-h | --help)
  nitrosocks (-V | --version)

Commands:
  keygen   make the server's key and TLS certificate where missing, and print the key's fingerprint;
           with NAME: make a client's profile, and authorise that client
  serve    serve the authorised clients
  forward  listen here, and carry each connection to a target at the server's side
  connect  carry stdin and stdout to HOST:PORT, as a ProxyCommand for ssh does
  doctor   say what is good and bad on the way to the server, one line each, and what to do about it
  demo     show the tunnel at work behind a box that ends TLS, all on this machine

Options:
  -L SPEC              forward [bind:]port:host:hostport, as ssh does; port 0 picks one, and prints it
  -i PROFILE           the client profile; else $NITROSOCKS_PROFILE, default.profile or the only *.profile in DIR
  -o FILE              where to write the profile, - for stdout; else NAME.profile
  --home DIR           keys, certificates, profiles and clients.d; else $NITROSOCKS_HOME or ~/.config/nitrosocks
  --server HOST:PORT   where the client finds the server; more than one are tried in turn
  --permit RULE        what the client may reach: host:port, host a name, *, address or CIDR, port a number, range or *
  --force              replace the profile and the authorisation that are there
  --listen ADDR        where to listen, host:port or :port; else :8443 on all interfaces
  --cert FILE          a TLS certificate chain of your own, PEM
  --key FILE           its private key, PEM
  --cipher NAME        aes-256-gcm or aes-128-gcm, inside the TLS; else aes-256-gcm
  --window SIZE        bytes of a stream under way before limits grow, with K or M; else 256K
  --resume SECONDS     how long a session waits for its client to reconnect; else 120
  --heartbeat SECONDS  after how much silence the other side is asked whether it lives; else 20, over http 50
  --refresh WHEN       when session keys are renewed: minutes (30m), bytes (4G), or both (30m,4G)
  --drain SECONDS      how long running streams may go on after SIGTERM; else 30
  --decoy WHERE        the web server, host:port or https://host, that serves whatever is not ours
  --sessions N         how many sessions carry the streams, at most; else 4
  --redial SECONDS     move to a fresh connection at this age, before a proxy cuts the old one
  --retry              keep trying when the first session cannot be made
  --carrier NAME       raw, websocket or http alone; else auto: the first that gets an answer; serve: all three
  --path PREFIX        what stands in front of the paths of websocket and http, as in /some/path; also at the server
  --host-header NAME   the name in the Host header of websocket and http; else the server's
  --require-direct     refuse to work where somebody ends the TLS in between
  --tls-verify         verify the outer TLS certificate, too; the tunnel does not need it
  --proxy URL          go through this proxy: http, https, socks5 or socks5h; or none. Else the environment's
  --proxy-auth FILE    where user:password for the proxy stands, on one line
  --json               print all findings as one JSON object
  --open HOST:PORT     see whether the server opens this target for this client
  --idle MINUTES       see whether a session with nothing to do lives for so long, and which silence it survives
  --age MINUTES        see whether a connection lives for so long
  --speed              measure bytes a second to the server
  --echo HOST:PORT     measure through this target, which sends back what it gets; implies --speed
  --keep DIR           leave what the box recorded in DIR
  -N                   accepted for the fingers' sake: there is no remote command anyway
  -4                   reach the server over IPv4 only
  -6                   reach the server over IPv6 only
  -v                   say more; twice: with times, threads and what was not ours
  -q                   say errors only
  -h --help            this text
  -V --version         the version

Exit codes: 0 done, 64 usage, 65 bad key or profile, 69 unreachable or refused, 70 a fault of ours, 73 cannot create
or write, 76 not the expected server, or bytes changed, 77 not authorised, 78 configuration; connect: 255 for all but
0 and 64.
"""
