# Completion of nitrosocks for fish 3.0 and later. tests/cli/test_usage.py holds it against the usage text.

function __nitrosocks_command --description 'Whether the line has one of these commands; without arguments: none yet'
    for word in (commandline -opc)[2..-1]
        if contains -- $word keygen clients permit forbid revoke rename check serve forward connect doctor demo
            contains -- $word $argv
            return
        end
    end
    test (count $argv) -eq 0
end

function __nitrosocks_clients --description 'The names of the authorised clients; --home is not looked at'
    test (count (commandline -opc)) -eq 2; or return
    set -l config $HOME/.config
    set -q XDG_CONFIG_HOME; and set config $XDG_CONFIG_HOME
    set -l home $config/nitrosocks
    set -q NITROSOCKS_HOME; and set home $NITROSOCKS_HOME
    for file in $home/clients.d/*.toml
        string replace -r '.*/(.*)\\.toml$' '$1' -- $file
    end
end

complete -c nitrosocks -f
complete -c nitrosocks -n __nitrosocks_command -a keygen -d 'make keys, certificate, profiles'
complete -c nitrosocks -n __nitrosocks_command -a clients -d 'list the authorised clients'
complete -c nitrosocks -n __nitrosocks_command -a permit -d 'let a client reach more'
complete -c nitrosocks -n __nitrosocks_command -a forbid -d 'take rules away from a client'
complete -c nitrosocks -n __nitrosocks_command -a revoke -d 'end the authorisation of a client'
complete -c nitrosocks -n __nitrosocks_command -a rename -d 'give a client another name'
complete -c nitrosocks -n __nitrosocks_command -a check -d 'read all files, and name each fault'
complete -c nitrosocks -n __nitrosocks_command -a serve -d 'serve the authorised clients'
complete -c nitrosocks -n __nitrosocks_command -a forward -d 'listen here, connect at the server'
complete -c nitrosocks -n __nitrosocks_command -a connect -d 'carry stdin and stdout to HOST:PORT'
complete -c nitrosocks -n __nitrosocks_command -a doctor -d 'check each step on the way to the server'
complete -c nitrosocks -n __nitrosocks_command -a demo -d 'show the tunnel at work'
complete -c nitrosocks -n __nitrosocks_command -s h -l help -d 'the usage text'
complete -c nitrosocks -n __nitrosocks_command -s V -l version -d 'the version'

complete -c nitrosocks -n '__nitrosocks_command keygen' -l server -x -d 'where the client finds the server, host:port'
complete -c nitrosocks -n '__nitrosocks_command keygen' -l permit -x -d 'what the client may reach, host:port'
complete -c nitrosocks -n '__nitrosocks_command keygen' -s o -r -F -d 'where to write the profile'
complete -c nitrosocks -n '__nitrosocks_command keygen' -l force -d 'replace what is there'

complete -c nitrosocks -n '__nitrosocks_command clients' -l json -d 'one JSON object'
complete -c nitrosocks -n '__nitrosocks_command permit' -l test -x -d 'say which rule decides about host:port'
complete -c nitrosocks -n '__nitrosocks_command permit forbid revoke rename' -a '(__nitrosocks_clients)'

complete -c nitrosocks -n '__nitrosocks_command keygen permit forbid' -l listen -x -d 'where the server may listen for the client'
complete -c nitrosocks -n '__nitrosocks_command serve' -l listen -x -d 'where to listen, host:port or :port'
complete -c nitrosocks -n '__nitrosocks_command serve' -l cert -r -F -d 'TLS certificate chain, PEM'
complete -c nitrosocks -n '__nitrosocks_command serve' -l key -r -F -d 'its private key, PEM'
complete -c nitrosocks -n '__nitrosocks_command serve' -l cipher -x -a 'aes-256-gcm aes-128-gcm' -d 'inside the TLS'
complete -c nitrosocks -n '__nitrosocks_command serve' -l resume -x -d 'how long a session waits for its client, 90s or 5m'
complete -c nitrosocks -n '__nitrosocks_command serve' -l heartbeat -x -d 'how long silence may last before a ping, 20s'
complete -c nitrosocks -n '__nitrosocks_command serve' -l refresh -x -d 'when keys are renewed: 30m, 4G, or 30m,4G'
complete -c nitrosocks -n '__nitrosocks_command serve' -l drain -x -d 'how long running streams may go on after SIGTERM, 30s'
complete -c nitrosocks -n '__nitrosocks_command serve' -l carrier -x -a 'raw websocket http auto' -d 'carriers to serve'
complete -c nitrosocks -n '__nitrosocks_command serve' -l path -x -d 'what the paths of websocket and http begin with'
complete -c nitrosocks -n '__nitrosocks_command serve' -l decoy -x -d 'the web server for visitors that are not clients'

complete -c nitrosocks -n '__nitrosocks_command forward' -s L -x -d '[bind:]port:host:hostport'
complete -c nitrosocks -n '__nitrosocks_command forward' -s R -x -d '[bind:]port[:host:hostport], the server listens'
complete -c nitrosocks -n '__nitrosocks_command forward' -s D -x -d '[bind:]port of a proxy, SOCKS and HTTP'
complete -c nitrosocks -n '__nitrosocks_command forward' -l socket-mode -x -a '600 660 666' -d 'octal mode of unix sockets'
complete -c nitrosocks -n '__nitrosocks_command forward' -l socks-auth -r -F -d 'file with user:password for -D, and for -R as a proxy'
complete -c nitrosocks -n '__nitrosocks_command forward' -s N -d 'ignored, as for ssh'
complete -c nitrosocks -n '__nitrosocks_command forward' -s n -d 'ignored, as for ssh'
complete -c nitrosocks -n '__nitrosocks_command forward' -s T -d 'ignored, as for ssh'
complete -c nitrosocks -n '__nitrosocks_command forward' -s f -d 'go on in the background'
complete -c nitrosocks -n '__nitrosocks_command forward' -l pidfile -r -F -d 'file for the number of the process'
complete -c nitrosocks -n '__nitrosocks_command forward' -l retry -d 'keep trying to make the first session'
complete -c nitrosocks -n '__nitrosocks_command forward' -l sessions -x -d 'how many sessions, at most, 1 to 16'

complete -c nitrosocks -n '__nitrosocks_command connect' -a '(__fish_print_hostnames)'

complete -c nitrosocks -n '__nitrosocks_command forward connect doctor' -s i -x -k -a '(__fish_complete_suffix .profile)' -d 'client profile'
complete -c nitrosocks -n '__nitrosocks_command forward connect' -l redial -x -d 'age at which a connection is replaced, 5m or 2h'
complete -c nitrosocks -n '__nitrosocks_command forward connect doctor' -l carrier -x -a 'raw websocket http auto' -d 'how the tunnel goes through the TLS'
complete -c nitrosocks -n '__nitrosocks_command forward connect doctor' -l path -x -d 'what the paths of websocket and http begin with'
complete -c nitrosocks -n '__nitrosocks_command forward connect doctor' -l host-header -x -d 'in the Host header of websocket and http'
complete -c nitrosocks -n '__nitrosocks_command forward connect doctor' -l require-direct -d 'refuse to work where TLS is intercepted'
complete -c nitrosocks -n '__nitrosocks_command forward connect doctor' -l tls-verify -d 'verify the outer TLS certificate'
complete -c nitrosocks -n '__nitrosocks_command forward connect doctor' -l proxy -x -a none -d 'go through this proxy, URL or none'
complete -c nitrosocks -n '__nitrosocks_command forward connect doctor' -l proxy-auth -r -F -d 'file with user:password for it'
complete -c nitrosocks -n '__nitrosocks_command forward connect doctor' -s 4 -d 'IPv4 only'
complete -c nitrosocks -n '__nitrosocks_command forward connect doctor' -s 6 -d 'IPv6 only'
complete -c nitrosocks -n '__nitrosocks_command serve forward connect' -l window -x -d 'bytes of a stream in flight at first, 64K to 64M'

complete -c nitrosocks -n '__nitrosocks_command serve forward' -l log-format -x -a 'text json' -d 'form of log lines'

complete -c nitrosocks -n '__nitrosocks_command doctor' -l json -d 'one JSON object'
complete -c nitrosocks -n '__nitrosocks_command doctor' -l open -x -d 'check whether the server opens this target, host:port'
complete -c nitrosocks -n '__nitrosocks_command doctor' -l idle -x -d 'check whether an idle connection lives this long, 5m'
complete -c nitrosocks -n '__nitrosocks_command doctor' -l age -x -d 'check whether a connection lives this long, 2h'
complete -c nitrosocks -n '__nitrosocks_command doctor' -l speed -d 'measure bytes per second'
complete -c nitrosocks -n '__nitrosocks_command doctor' -l echo -x -d 'measure through a target that sends all back'

complete -c nitrosocks -n '__nitrosocks_command demo' -l keep -x -a '(__fish_complete_directories)' -d 'leave the recording there'

complete -c nitrosocks -n '__nitrosocks_command keygen clients permit forbid revoke rename check serve forward connect doctor' -l home -x -a '(__fish_complete_directories)' -d 'keys, certificates, profiles, clients.d'
complete -c nitrosocks -n '__nitrosocks_command keygen clients permit forbid revoke rename check serve forward connect doctor' -s q -d 'print errors only'
complete -c nitrosocks -n '__nitrosocks_command keygen clients permit forbid revoke rename check serve forward connect doctor demo' -s v -d 'say more'
