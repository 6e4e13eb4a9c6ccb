# --version is one line; with -v it says more.
. "$LIB"

for words in --version -V 'prune --version' '--version prune' 'stats -V file'; do
    # shellcheck disable=SC2086 # two words
    run $words
    expect_status 0
    expect_no_stderr
    [ "$(wc -l <.stdout)" -eq 1 ] || fail "expected one line"
    grep -E -q -x 's24 [0-9]+\.[0-9]+\.[0-9]+' .stdout || fail "expected s24 and a version"
done

for words in '--version -v' '-vV' '-V -v'; do
    # shellcheck disable=SC2086 # two words
    run $words
    expect_status 0
    expect_stdout_has 'instruction set: '
done
