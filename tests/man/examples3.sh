#!/bin/sh
# examples3.sh [BUILD]: the programs of libs24(3) compile, against BUILD/libs24.a (default: build), run, and print what
# the page says; and the page has every function of the public headers.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
case ${1-build} in /*) build=$1 ;; *) build=$top/${1-build} ;; esac
page=$top/man/libs24.3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

fail()
{
    echo "examples3: $*" >&2
    exit 1
}

[ -e "$build/libs24.a" ] || fail "no $build/libs24.a"

# Functions: S24_API ... s24_name( in the headers, .Fn or .Fo after .Ft in the page.
sed -n 's/^S24_API .*\(s24_[a-z0-9_]*\)(.*/\1/p' "$top/lib/s24.h" "$top/formats/s24io.h" | sort >"$tmp/headers"
awk 'type && /^\.F[no] / { print $2 } { type = /^\.Ft / }' "$page" | sort >"$tmp/page"
diff "$tmp/headers" "$tmp/page" >&2 || fail "functions: < in the headers, > in libs24(3)"

# Displays of EXAMPLES: a program names itself in its first line, /* NAME.c: ... */; what follows it is what it prints.
awk -v into="$tmp" '
    /^\.Sh / { examples = $2 == "EXAMPLES" }
    /^\.Bd/ { literal = examples; first = 1; next }
    /^\.Ed/ { literal = 0; next }
    !literal { next }
    {
        gsub(/\\&/, ""); gsub(/\\e/, "\\")
        if (first) {
            first = 0
            if ($1 == "/*") {
                name = $2
                sub(/\.c:$/, "", name)
                file = into "/" name ".c"
            } else {
                file = into "/" name ".expected"
            }
        }
        print > file
    }' "$page"

cp "$top/tests/data/digits/digits.safetensors" "$tmp/model.safetensors"
count=0
for program in "$tmp"/*.c; do
    name=$(basename "$program" .c)
    # shellcheck disable=SC2086
    ${CC:-cc} -std=c11 -Wall -Wextra -Werror ${CFLAGS:-} -I"$top/lib" -I"$top/formats" -o "$tmp/$name" "$program" \
        "$build/libs24.a" -lcjson -lz -lxxhash -lm -ldl -pthread || fail "$name.c does not compile"
    case $name in file) set -- model.safetensors model.s24 ;; *) set -- ;; esac
    (cd "$tmp" && "./$name" "$@") >"$tmp/output" || fail "$name.c fails"
    diff "$tmp/$name.expected" "$tmp/output" >&2 || fail "$name.c prints something else (>) than the page says (<)"
    count=$((count + 1))
done
[ $count -ge 2 ] || fail "found $count programs in libs24(3)"
echo "examples3: $count programs of libs24(3), $(wc -l <"$tmp/headers") functions: ok"
