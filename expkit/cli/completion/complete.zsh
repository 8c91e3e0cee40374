# Completes `expkit`, `python -m expkit` and `python -m expkit.run` on TAB: eval "$(expkit -sc install=zsh)"
_expkit_complete() {
    local line reply
    local -a runner open whole
    if [[ "$words[2]" == -m && "$words[3]" == (expkit|expkit.run) && CURRENT -gt 3 ]]; then
        runner=("${(@Q)words[1,3]}")
    elif [[ "${words[1]:t}" == expkit ]]; then
        runner=("${(Q)words[1]}")
    else  # another use of python: what completed it before, or files
        ${_expkit_before:-_default} "$@"
        return
    fi
    runner[1]="${runner[1]/#\~/$HOME}"
    line="${(j: :)words[1,CURRENT-1]} $PREFIX"
    for reply in "${(@f)$(COMP_LINE="$line" COMP_POINT="${#line}" "${runner[@]}" -sc query=zsh 2> /dev/null)}"; do
        case "$reply" in
            "") ;;
            *[=./]) open+=("$reply") ;;
            *) whole+=("$reply") ;;
        esac
    done
    if (( ! $#open && ! $#whole )); then
        compset -P '*='
        _files
        return
    fi
    (( ! $#open )) || compadd -Q -S '' -a open
    (( ! $#whole )) || compadd -Q -a whole
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_expkit_before="${_comps[python]}"
[[ "$_expkit_before" != _expkit_complete ]] || _expkit_before=""
compdef _expkit_complete expkit python python3
