#!/bin/sh
# hexdump.sh [BUILD]: the dump in man/s24.5 is tests/golden/good/matrix.s24, and that is what the command in BUILD (default:
# build) writes today. The header holds the version of the tool, and every check depends on the header: a command of
# another version writes other bytes, and then only what they decode to is compared.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
case ${1-build} in /*) build=$1 ;; *) build=$top/${1-build} ;; esac
page=$top/man/s24.5
golden=$top/tests/golden/good/matrix.s24
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

fail()
{
    echo "hexdump: $*" >&2
    exit 1
}

# A file as the page shows it: offset, four times four bytes, characters.
dump()
{
    od -An -v -tx1 "$1" | LC_ALL=C awk '
        function digit(c) { return index("0123456789abcdef", c) - 1 }
        {
            line = sprintf("%04x ", 16 * (NR - 1)); text = ""
            for (i = 1; i <= NF; i++) {
                line = line (i % 4 == 1 ? " " : "") $i
                byte = 16 * digit(substr($i, 1, 1)) + digit(substr($i, 2, 1))
                text = text (byte >= 32 && byte < 127 ? sprintf("%c", byte) : ".")
            }
            print line "  " text
        }' | sed 's/ *$//'
}

# The u32 at an offset of the golden file.
u32_at()
{
    od -An -v -tu1 -j "$1" -N 4 "$golden" | awk '{ print $1 + 256 * ($2 + 256 * ($3 + 256 * $4)) }'
}

# The page shows everything but the copy of the header, of which it says where it lies.
header=$(($(u32_at 0) + 8))
copy=$(u32_at $((header + 40)))
size=$(wc -c <"$golden")
[ $((copy + header + 64)) -eq "$size" ] || fail "$golden: the copy is not before the tail"
sed -n '/^[0-9a-f]\{4\}  [0-9a-f]\{8\} /p' "$page" | sed -e 's/\\e/\\/g' -e 's/\\&//g' >"$tmp/page"
dump "$golden" >"$tmp/golden"
{
    head -n $((copy / 16)) "$tmp/golden"
    tail -n 4 "$tmp/golden"
} >"$tmp/shown"
diff "$tmp/shown" "$tmp/page" || fail "the dump in s24.5 is not $golden"
dd if="$golden" of="$tmp/front" bs=1 count="$header" 2>/dev/null
dd if="$golden" of="$tmp/copy" bs=1 skip="$copy" count="$header" 2>/dev/null
cmp "$tmp/front" "$tmp/copy" || fail "the copy is not the header"

# What the command writes.
if [ ! -x "$build/s24" ]; then
    echo "hexdump: s24.5 shows the golden file; no $build/s24 to compare with"
    exit 0
fi
cp "$top/tests/golden/good/matrix.npy" "$tmp"
(cd "$tmp" && "$build/s24" prune -q matrix.npy -o matrix.s24) || fail "s24 prune matrix.npy -o matrix.s24 fails"
version=$("$build/s24" --version)
if LC_ALL=C grep -q "\\\\\"tool\\\\\":\\\\\"$version\\\\\"" "$golden"; then
    cmp "$tmp/matrix.s24" "$golden" || fail "the command writes other bytes than s24.5 shows"
    echo "hexdump: s24.5 shows the golden file, and $version writes it: ok"
else
    PYTHONDONTWRITEBYTECODE=1 "${PYTHON:-python3}" "$top/tests/golden/decode.py" "$tmp/matrix.s24" >"$tmp/text"
    cmp "$tmp/text" "$top/tests/golden/good/matrix.txt" || fail "what the command writes does not decode to matrix.txt"
    echo "hexdump: s24.5 shows the golden file, of another version than $version: compared by content, not by bytes"
fi
