# matmul-bench: runs, and says what it measured. Small and short: this is no measurement.
. "$LIB"

run matmul-bench --m 64 --k 64 --n 1,3 --reps 1 --warmup 0 -T 1 --baseline none
expect_status 0
expect_no_stderr
expect_stdout_has '64 x 64'
[ "$(grep -c sparse .stdout)" -ge 2 ] || fail "expected a line for each n"

run matmul-bench --m 64 --k 128 --n 1,3 --reps 1 --warmup 0 -T 1 --baseline none --json --dtype bf16
expect_status 0
for piece in '"schema": "s24.matmul-bench/1"' '"tensor": null' '"m": 64' '"k": 128' '"dtype": "bf16"' \
    '"compute": "f32"' '"isa": "' '"threads": 1' '"repack_seconds": ' '{"n": 1, "sparse": {"seconds":' \
    '"gflops":' '"weight_gbps":' '"max_error":' '{"n": 3, "sparse": '; do
    expect_stdout_has "$piece"
done
if command -v python3 >/dev/null; then
    python3 -m json.tool .stdout >/dev/null || fail "expected valid JSON"
fi

# a tensor of a file
run prune "$digits/digits.safetensors" -o d.s24 -q
run matmul-bench d.s24 --tensor fc1.weight --n 1 --reps 1 --baseline none --json
expect_status 0
expect_stdout_has '"tensor": "fc1.weight", "m": 128, "k": 64'
run matmul-bench d.s24 --n 1
expect_status 2
expect_error d.s24
run matmul-bench missing.s24
expect_status 4
expect_error missing.s24

# against the BLAS, where there is one; without one it says so and goes on
run matmul-bench --m 64 --k 64 --n 2 --reps 1 -T 1
expect_status 0
grep -q -i 'Sparse is ' .stdout || grep -q -i blas .stderr || fail "expected a verdict or a word about the BLAS"

# what it computes with, and what was done before the first product
run matmul-bench --m 64 --k 64 --n 2 --reps 1 -T 1 --baseline none --compute bf16
expect_status 0
expect_stdout_has 'f32 rounded to bf16'
expect_stdout_has 'before the first product: '
run matmul-bench --m 64 --k 64 --n 2 --reps 1 -T 1 --baseline none --compute bf16 --json
expect_status 0
expect_stdout_has '"compute": "bf16"'
if grep -q -e ceilings -e of_peak .stdout; then fail "expected no ceilings unasked"; fi
run matmul-bench --compute f16
expect_status 2
run matmul-bench --m 64 --k 64 --n 1,20 --reps 1 -T 1 --baseline none --dtype i8 --compute i8
expect_status 0
expect_stdout_has 'f32 quantized to i8'
run matmul-bench --m 64 --k 64 --n 1,20 --reps 1 -T 1 --baseline none --dtype i8 --compute i8 --ceilings --json
expect_status 0
expect_stdout_has '"dtype": "i8"'
expect_stdout_has '"compute": "i8"'
expect_stdout_has '"of_peak":null'
tr ',' '\n' <.stdout | sed -n 's/.*"max_error"://p' >errors
awk '$1 + 0 <= 0 || $1 + 0 > 3e-2 { exit 1 } END { exit NR != 2 }' errors || fail "$(cat errors)"
run matmul-bench --m 64 --k 64 --n 2 --reps 1 -T 1 --baseline none --compute i8
expect_status 2
expect_error 'wants weights of i8, and these are f16; compute in f32 or bf16'

# ceilings, as text and as JSON
run matmul-bench --m 64 --k 64 --n 2 --reps 1 -T 1 --baseline none --ceilings
expect_status 0
for piece in 'read bandwidth: ' 'peak: ' 'of read bandwidth' 'of peak'; do expect_stdout_has "$piece"; done
run matmul-bench --m 64 --k 64 --n 2 --reps 1 -T 1 --baseline none --ceilings --isa avx2 --json
expect_status 0
for piece in '"ceilings": {"read_gbps":' '"f32_gflops":' '"bf16_gflops":null}' '"of_read_bandwidth":' '"of_peak":'; do
    expect_stdout_has "$piece"
done
if command -v python3 >/dev/null; then
    python3 -m json.tool .stdout >/dev/null || fail "expected valid JSON"
fi

# oneDNN, where it is: its results are right, as its errors show
run matmul-bench --m 70 --k 260 --n 1,9 --reps 1 -T 1 -v --compute bf16 --json
expect_status 0
if grep -q 'oneDNN [0-9.]* f32' .stdout; then
    tr '{' '\n' <.stdout | sed -n 's/.*"name":"oneDNN [0-9.]* \([a-z0-9]*\)".*"max_error":\([^,]*\),.*/\1 \2/p' >errors
    awk '$2 + 0 > ($1 == "f32" ? 1e-5 : 2e-2) || $2 == "null" { exit 1 } END { exit NR < 2 }' errors || fail "$(cat errors)"
else
    grep -q libdnnl2 .stderr || fail "expected the package that brings oneDNN"
fi

# a drawing
run matmul-bench --m 64 --k 64 --n 1,4 --reps 1 -T 1 --svg x.svg
if [ "$(cat .status)" = 0 ]; then
    grep -q '^<svg xmlns="http://www.w3.org/2000/svg"' x.svg || fail "expected a drawing"
    [ "$(tail -n 1 x.svg)" = '</svg>' ] || fail "expected the drawing's end"
    [ "$(grep -c '<polyline' x.svg)" -ge 4 ] || fail "expected axes and curves"
    if command -v python3 >/dev/null; then
        python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' x.svg || fail "expected valid XML"
    fi
else
    expect_status 4
fi
echo mine >mine.svg
run matmul-bench --m 64 --k 64 --n 1 --reps 1 -T 1 --svg mine.svg
expect_status 4
expect_error mine.svg
[ "$(cat mine.svg)" = mine ] || fail "expected the file untouched"
run matmul-bench --svg missing/x.svg
expect_status 4
run matmul-bench --svg x.svg --baseline none
expect_status 2
run matmul-bench --svg -
expect_status 2
