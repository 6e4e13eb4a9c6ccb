# .npz files: in and out of every command, by files and pipes, stored and deflated, whole and damaged.
. "$LIB"

# out: a whole model becomes an .npz, by suffix and by --to, the same bytes each time
run prune "$digits/digits.safetensors" -o m.npz -q
expect_status 0
expect_no_stderr
run prune "$digits/digits.safetensors" --to npz -o other -q
expect_status 0
expect_same m.npz other
run prune "$digits/digits.safetensors" -o d.s24 -q
run decompress d.s24 -o d.npz -q
expect_status 0
expect_same d.npz m.npz

# in: found by content; 2:4 already, so that it packs without loss and comes back as it was
run inspect m.npz
expect_status 0
expect_stdout_has 'fc1.weight'
cp m.npz misnamed.dat
run inspect misnamed.dat --json
expect_status 0
expect_stdout_has '"format": "npz"'
run verify m.npz
expect_status 0
run verify m.npz --json
expect_status 0
run stats m.npz --json
expect_status 0
expect_stdout_has '"status":"packed"'
run prune m.npz -q
expect_status 0
expect_file m.s24
run decompress m.s24 -f -q
expect_status 0
expect_same m.npz d.npz
run prune m.npz --to same -o same.npz -q
expect_status 0
expect_same same.npz d.npz
run stats m.s24 --original m.npz --json
expect_status 0
run decompress m.s24 --tensor fc1.weight -o lone.npz -q
expect_status 0
run inspect lone.npz
expect_stdout_has 'fc1.weight'

# a pipe in: the same; a pipe out: another archive of the same tensors
# shellcheck disable=SC2002 # a pipe is the point
cat m.npz | "$S24" prune - -q >piped.s24 || fail 'prune of a pipe'
expect_same piped.s24 m.s24
"$S24" decompress m.s24 --to npz -o - | cat >streamed.npz
"$S24" prune streamed.npz -q -o streamed.s24 || fail 'prune of what was written to a pipe'
expect_same streamed.s24 m.s24
# shellcheck disable=SC2002
cat m.npz | "$S24" verify -q - || fail 'verify of a pipe'

# a lone array has a name there, and none when it goes back
f32 1 2 3 4 4 3 2 1 | npy w.npy '<f4' '(2, 4)'
run prune w.npy -o w.npz -q
expect_status 0
run inspect w.npz
expect_stdout_has 'arr_0'
run prune w.npz -o w.s24 -q
expect_status 0
run decompress w.s24 --to json -o -
expect_status 0
expect_stdout_has '[[0,0,3,4],[4,3,0,0]]'

# gradients by name, from an .npz
echo '{"a":[[1,2,3,4]],"b":[[4,3,2,1]]}' >m.json
echo '{"b":[[1,0,0,9]],"a":[[9,9,0,0]]}' >g.json
run prune g.json -o g.npz -q
expect_status 0
run prune m.json --method gradient --gradients g.npz --to json -o - -q
expect_status 0
expect_stdout_has '"data":[[1,2,0,0]]'
expect_stdout_has '"data":[[4,0,0,1]]'
run prune g.npz --method gradient --gradients g.npz --to json -o - -q
expect_status 0

# nothing in it
printf 'PK\005\006\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000' >empty.npz
run inspect empty.npz
expect_status 0
run prune empty.npz
expect_status 5
expect_error empty.npz 'no tensor is eligible'

# damaged: file, member, what is wrong; no output
size=$(size_of m.npz)
{
    head -c 1500 m.npz
    printf 'damaged'
    tail -c +1508 m.npz
} >bad.npz
[ "$(size_of bad.npz)" -eq "$size" ] || fail 'bad.npz has another size'
for words in 'prune bad.npz -o none.s24' 'prune bad.npz --to same -o none.npz' 'verify -q bad.npz' 'stats bad.npz' \
        'prune bad.npz -n'; do
    # shellcheck disable=SC2086 # words
    run $words
    expect_status 3
    expect_error 'bad.npz: ' 'member fc1.weight.npy: CRC mismatch: damaged'
    expect_no_file none.s24
    expect_no_file none.npz
done
head -c $((size - 1)) m.npz >short.npz
run prune short.npz
expect_status 3
expect_error 'short.npz: truncated, or not a zip archive'

# what has no place in an .npz
safetensors e8.safetensors '{"s":{"dtype":"F8_E8M0","shape":[4],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1,4],"data_offsets":[4,20]}}' <<END
1234567890123456789a
END
head -c $(($(size_of e8.safetensors) - 1)) e8.safetensors >e8 && mv e8 e8.safetensors
run prune e8.safetensors -o e8.npz
expect_status 3
expect_error e8.npz 's: numpy has no type for f8e8m0; write .safetensors'
expect_no_file e8.npz
echo '{"../w":[[1,2,3,4]]}' >up.json
run prune up.json -o up.npz
expect_status 3
expect_error up.npz 'leads out of its directory'
expect_no_file up.npz

# as others write them
python3 - 2>/dev/null <<'END' || skip 'the rest needs python3'
import struct, zipfile
def npy(descr, order, shape, data):
    h = "{'descr': %s, 'fortran_order': %s, 'shape': %s, }" % (descr, order, shape)
    return b"\x93NUMPY\1\0\x76\0" + h.ljust(117).encode() + b"\n" + data
w = npy("'>f4'", "True", "(2, 4)", struct.pack(">8f", 1, 4, 2, 3, 3, 2, 4, 1))
i = npy("'>i4'", "True", "(2, 3)", struct.pack(">6i", 1, 4, 2, 5, 3, 6))
for name, method in ("stored.npz", zipfile.ZIP_STORED), ("deflated.npz", zipfile.ZIP_DEFLATED), ("bz.npz", zipfile.ZIP_BZIP2):
    with zipfile.ZipFile(name, "w", method) as z:
        for member, data in ("w.npy", w), ("i.npy", i):
            with z.open(zipfile.ZipInfo(member) if method == 0 else member, "w", force_zip64=True) as f:
                f.write(data)
with zipfile.ZipFile("torch.pt", "w") as z:
    z.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
with zipfile.ZipFile("text.zip", "w") as z:
    z.writestr("a.txt", b"text")
with zipfile.ZipFile("object.npz", "w") as z:
    z.writestr("w.npy", w)
    z.writestr("o.npy", npy("'|O'", "False", "()", b"12345678"))
END
for name in stored deflated; do
    run prune $name.npz -o $name.json -q
    expect_status 0
    grep -F -q '"data":[[0,0,3,4],[4,3,0,0]]' $name.json || fail "expected w in $name.json: $(cat $name.json)"
    grep -F -q '"data":[[1,2,3],[4,5,6]]' $name.json || fail "expected i in $name.json: $(cat $name.json)"
    run prune $name.npz --to same -o $name.same.npz -q
    expect_status 0
    # shellcheck disable=SC2002
    cat $name.npz | "$S24" prune - --to same -o - -q >$name.piped.npz || fail "$name in a pipe"
    python3 -c 'import sys, zipfile; [zipfile.ZipFile(n).testzip() is None or sys.exit(1) for n in sys.argv[1:]]' \
        $name.same.npz $name.piped.npz || fail "zipfile does not like $name.same.npz"
done
expect_same stored.same.npz deflated.same.npz
run prune bz.npz
expect_status 3
expect_error bz.npz 'member w.npy: is compressed by method 12 (bzip2)'
run prune torch.pt
expect_status 3
expect_error torch.pt 'is a PyTorch file (a zip of a pickle)' 'safetensors.torch.save_file'
run prune text.zip
expect_status 3
expect_error text.zip 'is a zip archive without .npy members'
run prune object.npz
expect_status 3
expect_error object.npz 'member o.npy: holds Python objects (a pickle)'
