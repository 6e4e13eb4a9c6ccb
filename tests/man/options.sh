#!/bin/sh
# options.sh [BUILD]: the options that `s24 COMMAND --help` lists and those of the pages are the same, and so are their
# letters and what their values are called; and every command has its page. BUILD (default: build) has the command.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
case ${1-build} in /*) build=$1 ;; *) build=$top/${1-build} ;; esac
s24=$build/s24
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
unset NO_COLOR

fail()
{
    echo "options: $*" >&2
    exit 1
}

[ -x "$s24" ] || fail "no $s24"

# "-o --output=OUT", "--all": a line an option. Of --help, those before or under "Global options".
of_help()
{
    awk -v which="$1" '
        /^[A-Z]/ { global = $0 == "Global options" }
        /^  (-., |    )--/ {
            if ((which == "global") != global) next
            line = substr($0, 3)
            letter = substr(line, 1, 2) == "  " ? "" : substr(line, 1, 2) " "
            option = substr(line, 5)
            sub(/ .*/, "", option)
            print letter option
        }' | sort
}

# .It Fl o , Fl -output Ns = Ns Ar OUT
of_page()
{
    sed -n -e 's/\\&//g' -e '/^\.It Fl /{
        s/^\.It //
        s/Fl \(.\) , /-\1 /
        s/Fl -\([a-z0-9-]*\)/--\1/
        s/ Ns = Ns Ar /=/
        s/ Ns Oo = Ns Ar \(.*\) Oc/[=\1]/
        p
    }' "$1" | sort
}

compare()
{
    diff "$1" "$2" >"$tmp/diff" || fail "$3: < in --help, > in the page
$(cat "$tmp/diff")"
}

"$s24" --help | of_help global >"$tmp/help"
of_page "$top/man/s24.1" >"$tmp/page"
[ -s "$tmp/help" ] || fail "s24 --help lists no options"
compare "$tmp/help" "$tmp/page" "s24(1)"

options=$(wc -l <"$tmp/help")
"$s24" --help | awk '/^[A-Z]/ { commands = $0 == "Commands" } commands && /^  [a-z]/ { print $1 }' >"$tmp/commands"
while read -r command; do
    grep -q "^\.It Cm $command" "$top/man/s24.1" || fail "s24(1) does not name the command $command"
    [ "$command" = help ] && continue # it has no options, and s24(1) says what there is to say
    page=$top/man/s24-$command.1
    [ -e "$page" ] || fail "no page for the command $command"
    "$s24" "$command" --help | of_help own >"$tmp/help"
    of_page "$page" >"$tmp/page"
    compare "$tmp/help" "$tmp/page" "s24-$command(1)"
    "$s24" "$command" --help | of_help global >"$tmp/help.global"
    of_page "$top/man/s24.1" >"$tmp/page"
    compare "$tmp/help.global" "$tmp/page" "s24 $command --help and s24(1)"
    options=$((options + $(wc -l <"$tmp/help")))
done <"$tmp/commands"
for page in "$top"/man/s24-*.1; do
    command=$(basename "$page" .1)
    grep -qx "${command#s24-}" "$tmp/commands" || fail "$command(1) is the page of no command"
done
echo "options: $options options in --help and in the pages: ok"
