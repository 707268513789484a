# Completion of nitrosocks for bash 3.2 and later. tests/cli/test_usage.py holds it against the usage text.

# Adds the lines of standard input to COMPREPLY; names of files may have blanks.
_nitrosocks_add() {
    local line
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done
}

_nitrosocks_files() {
    compopt -o filenames 2>/dev/null # bash 3.2 has no compopt
    _nitrosocks_add
}

# The names of the authorised clients; --home is not looked at.
_nitrosocks_clients() {
    local home=${NITROSOCKS_HOME:-${XDG_CONFIG_HOME:-$HOME/.config}/nitrosocks} file
    for file in "$home"/clients.d/*.toml; do
        file=${file##*/}
        [[ $file == '*.toml' ]] || echo "${file%.toml}"
    done
}

_nitrosocks() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local command='' options='' word i
    COMPREPLY=()
    # bash cuts --home=/tmp into three words
    if [[ $current == '=' ]]; then
        current=''
    elif [[ $previous == '=' ]] && ((COMP_CWORD > 2)); then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
        keygen | clients | permit | forbid | revoke | rename | check | serve | forward | connect | doctor | demo)
            command=$word
            break
            ;;
        esac
    done
    case $previous in
    -i)
        _nitrosocks_files < <(compgen -f -X '!*.profile' -- "$current"; compgen -d -- "$current")
        return
        ;;
    -o | --cert | --key | --proxy-auth | --socks-auth | --pidfile)
        _nitrosocks_files < <(compgen -f -- "$current")
        return
        ;;
    --home | --keep)
        _nitrosocks_files < <(compgen -d -- "$current")
        return
        ;;
    --cipher)
        _nitrosocks_add < <(compgen -W 'aes-256-gcm aes-128-gcm' -- "$current")
        return
        ;;
    --carrier)
        _nitrosocks_add < <(compgen -W 'raw websocket http auto' -- "$current")
        return
        ;;
    --log-format)
        _nitrosocks_add < <(compgen -W 'text json' -- "$current")
        return
        ;;
    -L | -R | -D | --socket-mode | --server | --permit | --test | --listen | --window | --resume | --heartbeat | --refresh | --drain | --sessions | --redial | \
        --proxy | --path | --host-header | --decoy | --open | --idle | --age | --echo)
        return
        ;;
    esac
    case $command in
    '') options='keygen clients permit forbid revoke rename check serve forward connect doctor demo -h --help -V --version' ;;
    keygen) options='--server --permit --listen -o --force --home -v -q' ;;
    clients) options='--json --home -v -q' ;;
    permit) options='--listen --test --home -v -q' ;;
    forbid) options='--listen --home -v -q' ;;
    revoke) options='--home -v -q' ;;
    rename) options='--home -v -q' ;;
    check) options='--home -v -q' ;;
    serve) options='--listen --cert --key --cipher --window --resume --heartbeat --refresh --drain --carrier --path --decoy --log-format --home -v -q' ;;
    forward) options='-L -R -D -i -N -n -T -f --pidfile --retry --sessions --redial --window --socket-mode --socks-auth --carrier --path --host-header --require-direct --tls-verify --proxy --proxy-auth -4 -6 --log-format --home -v -q' ;;
    connect) options='-i --redial --window --carrier --path --host-header --require-direct --tls-verify --proxy --proxy-auth -4 -6 --home -v -q' ;;
    doctor) options='-i --json --open --idle --age --speed --echo --carrier --path --host-header --require-direct --tls-verify --proxy --proxy-auth -4 -6 --home -v -q' ;;
    demo) options='--keep -v' ;;
    esac
    case $command in
    permit | forbid | revoke | rename)
        if [[ $previous == "$command" && $current != -* ]]; then
            _nitrosocks_add < <(compgen -W "$(_nitrosocks_clients)" -- "$current")
            return
        fi
        ;;
    esac
    if [[ $command == connect && $current != -* ]]; then
        _nitrosocks_add < <(compgen -A hostname -- "$current")
        return
    fi
    _nitrosocks_add < <(compgen -W "$options" -- "$current")
}

complete -F _nitrosocks nitrosocks
