# Help is on stdout with status 0, for everything; no line is wider than a terminal.
. "$LIB"

run
expect_status 2
expect_no_stdout
expect_stderr_has 'usage: s24 COMMAND'
expect_stderr_has 'prune'

commands='prune plan decompress stats inspect verify matmul-bench completion help'
for option in --help -h help; do
    run $option
    expect_status 0
    expect_no_stderr
    expect_stdout_has 'Usage: s24 COMMAND'
    expect_stdout_has '--threads=N'
    expect_stdout_has '128+n'
    for command in $commands; do
        grep -q "^  $command " .stdout || fail "expected $command in the list"
    done
done

for command in $commands; do
    for way in "$command --help" "$command -h" "help $command"; do
        # shellcheck disable=SC2086 # two words
        run $way
        expect_status 0
        expect_no_stderr
        expect_stdout_has "Usage: s24 $command"
        expect_stdout_has '--no-sync'
        [ "$(awk 'length > 80' .stdout | wc -l)" -eq 0 ] || fail "a line is longer than 80 characters"
    done
done

# Help wins over what else is wrong with the line, from there on.
run prune --help --no-such-option
expect_status 0
run --help no-such-command
expect_status 0
run prune -qh
expect_status 0
expect_stdout_has 'Usage: s24 prune'

# What is promised is what there is: each option of CLI.md that this version has.
run prune --help
for option in -o --output --method --gradients --dtype --axis -i --include -x --exclude --all --to \
    --allow-nonfinite --plan -n --dry-run -f --force --from --raw-dtype --shape --offset --endian \
    -h --help -V --version -v --verbose -q --quiet -T --threads --json --color --progress --isa; do
    expect_stdout_has " $option"
done
run decompress --help
for option in -o --to --tensor --dtype --salvage -f; do
    expect_stdout_has " $option"
done
run stats --help
for option in --original --json --tsv --sort --fail-if --svg; do
    expect_stdout_has " $option"
done
run plan --help
for option in -o --output --budget --dtype --method --activations --hessian --norms --gradients --scores --refit --axis -i -x \
    --all --from --svg --json -f; do
    expect_stdout_has " $option"
done
run matmul-bench --help
for option in --tensor --m --k --n --dtype --reps --warmup --seed --baseline; do
    expect_stdout_has " $option"
done
