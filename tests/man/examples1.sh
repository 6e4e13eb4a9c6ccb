#!/bin/sh
# examples1.sh [BUILD]: the EXAMPLES of the section 1 pages, with the command in BUILD (default: build) first on PATH.
#
# Each page runs in a directory of its own, its examples one after another. Lines after "$ " are a command, which must
# succeed; the lines that follow it, if there are any, are what it must print on standard output and standard error. In
# them "..." at the end of a line is any rest of it, and a line "..." any lines. A command without such lines may print
# what it likes.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
case ${1-build} in /*) build=$1 ;; *) build=$top/${1-build} ;; esac
data=$top/tests/data/digits
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
PATH=$build:$PATH
LC_ALL=C
TERM=dumb
export PATH LC_ALL TERM
unset NO_COLOR

fail()
{
    echo "examples1: $*" >&2
    exit 1
}

[ -x "$build/s24" ] || fail "no $build/s24"

# What the pages take for granted to be there.
inputs()
{
    cp "$data/fc1.weight.npy" model.npy
    cp "$data/fc2.weight.npy" fc2.npy
    cp "$data/digits.safetensors" model.safetensors
    cp "$data/digits.safetensors" gradients.safetensors # a stand-in: the same names and shapes
    cp "$data/calibration.npz" inputs.npz
    tail -c +129 model.npy >weights.raw                 # numpy's header has 128 bytes
    mkdir checkpoint
    cp "$data/digits.safetensors" checkpoint/model-1.safetensors
    echo '{}' >checkpoint/config.json
    for layer in fc1 fc2 fc3; do
        printf '"%s.weight": "model-1.safetensors", "%s.bias": "model-1.safetensors", ' $layer $layer
    done | sed 's/^/{"weight_map": {/; s/, $/}}/' >checkpoint/model.safetensors.index.json
}

# NUMBER.command and NUMBER.expected for each example of a page.
extract()
{
    awk -v into="$2" '
        /^\.Sh / { examples = $2 == "EXAMPLES" }
        /^\.Bd / { literal = examples; next }
        /^\.Ed/ { literal = 0; next }
        !literal { next }
        {
            gsub(/\\&/, ""); gsub(/\\\(dq/, "\""); gsub(/\\-/, "-"); gsub(/\\e/, "\\")
            if (!more && substr($0, 1, 2) == "$ ") {
                n++
                name = sprintf("%s/%02d", into, n)
                $0 = substr($0, 3)
                printf "" > (name ".expected")
                print > (name ".command")
                more = /[\\|]$/
            } else if (more) {
                print > (name ".command")
                more = /[\\|]$/
            } else {
                print > (name ".expected")
            }
        }' "$1"
}

# Whether a file is as an expected one says.
matches()
{
    awk '
        function fits(line, pattern) {
            if (pattern ~ /\.\.\.$/) {
                pattern = substr(pattern, 1, length(pattern) - 3)
                return substr(line, 1, length(pattern)) == pattern
            }
            return line == pattern
        }
        FNR == NR { want[++wanted] = $0; next }
        { got[++lines] = $0 }
        END {
            for (i = j = 1; j <= wanted; j++) {
                if (want[j] == "...") {
                    while (i <= lines && (j == wanted || !fits(got[i], want[j + 1]))) i++
                } else if (i > lines || !fits(got[i++], want[j])) {
                    exit 1
                }
            }
            exit i <= lines
        }' "$1" "$2"
}

count=0
for page in "$top"/man/*.1; do
    name=$(basename "$page" .1)
    mkdir "$tmp/$name" "$tmp/$name.examples"
    extract "$page" "$tmp/$name.examples"
    for command in "$tmp/$name.examples"/*.command; do
        [ -e "$command" ] || fail "$name(1) has no examples"
        expected=${command%.command}.expected
        (
            cd "$tmp/$name"
            [ -e model.npy ] || inputs
            sh "$command" >"$tmp/output" 2>&1
        ) || fail "$name(1): fails: $(cat "$command" "$tmp/output")"
        if [ -s "$expected" ] && ! matches "$expected" "$tmp/output"; then
            diff "$expected" "$tmp/output" >&2 || :
            fail "$name(1): prints something else: $(cat "$command")"
        fi
        count=$((count + 1))
    done
done
echo "examples1: $count examples of the section 1 pages: ok"
