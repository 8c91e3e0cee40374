# Completes `expkit`, `python -m expkit` and `python -m expkit.run` on TAB: eval "$(expkit -sc install=bash)"
_expkit_complete() {
    local line="${COMP_LINE:0:COMP_POINT}" part="${COMP_WORDS[COMP_CWORD]}" typed before reply
    local module='^[^[:space:]]+[[:space:]]+-m[[:space:]]+expkit(\.run)?[[:space:]]'
    local -a words runner
    read -ra words <<< "$line"
    words[0]="${words[0]/#\~/$HOME}"
    if [[ "$line" =~ $module ]]; then
        runner=("${words[@]:0:3}")
    elif [[ "${words[0]##*/}" == expkit ]]; then
        runner=("${words[0]}")
    else  # another use of python: what completed it before, or files
        [[ -z "$_expkit_before" ]] || "$_expkit_before" "$@"
        return
    fi
    typed="${line##*[[:space:]]}"
    [[ "$part" != [=:] ]] || part=""
    before="${typed%"$part"}"  # the shell takes what follows = or : for a word of its own
    COMPREPLY=()
    while IFS= read -r reply; do
        [[ -z "$reply" ]] || COMPREPLY+=("${reply#"$before"}")
    done < <(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" "${runner[@]}" -sc query=bash 2> /dev/null)
    [[ "${#COMPREPLY[@]}" != 1 || "${COMPREPLY[0]}" != *[=./] ]] || compopt -o nospace 2> /dev/null
}
_expkit_before=$(complete -p python 2> /dev/null | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
[[ "$_expkit_before" != _expkit_complete ]] || _expkit_before=""
complete -o default -F _expkit_complete expkit python python3
