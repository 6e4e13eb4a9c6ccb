# Completion scripts: the shells take them, and offer what there is.
. "$LIB"

for shell in bash zsh fish; do
    run completion $shell
    expect_status 0
    expect_no_stderr
    cp .stdout script.$shell
    # every command, and every option of every command
    for command in prune plan decompress stats inspect verify convert matmul-bench completion help; do
        expect_stdout_has "$command"
        for option in $("$S24" $command --help | sed -n 's/^  *\(-[a-zA-Z], \)\{0,1\}--\([a-z-]*\).*/\2/p'); do
            expect_stdout_has "$option"
        done
    done
done

if command -v bash >/dev/null; then
    # What is offered for a line, of which the last word is being typed.
    offered()
    {
        ran="(bash) $*"
        # shellcheck disable=SC2016
        bash -c '. ./script.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _s24; echo "${COMPREPLY[*]}"' \
            - "$@" >.stdout 2>.stderr
        echo $? >.status
        expect_no_stderr
    }
    offered s24 ''
    expect_stdout 'prune plan decompress stats inspect verify convert matmul-bench completion help'
    offered s24 pr
    expect_stdout 'prune'
    offered s24 -T 2 --color = always in
    expect_stdout 'inspect'
    offered s24 prune --ou
    expect_stdout '--output'
    offered s24 prune --method m
    expect_stdout 'magnitude'
    offered s24 prune --method = g
    expect_stdout 'gradient'
    offered s24 prune --color n
    expect_stdout 'never'
    offered s24 completion f
    expect_stdout 'fish'
    offered s24 prune -o ''
    expect_stdout ''
    offered s24 prune --arch
    expect_stdout '--archive'
    offered s24 prune -z --al # -z has its value in the same word, or none
    expect_stdout '--allow-nonfinite --all'
fi
if command -v zsh >/dev/null; then
    zsh -n script.zsh || fail "zsh does not take its script"
fi
if command -v fish >/dev/null; then
    ran='(fish)'
    fish -n script.fish || fail "fish does not take its script"
    fish -c 'source script.fish; complete -C "s24 prune --method "' >.stdout 2>.stderr
    grep -q '^gradient' .stdout || fail "expected fish to offer gradient"
fi
