# Nothing is ever overwritten without -f, and never the input; what was there stays as it was.
. "$LIB"

f32 1 2 3 4 | npy w.npy '<f4' '(1, 4)'
cp w.npy original.npy
echo precious >out.s24
cp out.s24 precious

run prune w.npy -o out.s24
expect_status 4
expect_error out.s24 exists -f
expect_same out.s24 precious
expect_only . w.npy original.npy out.s24 precious

run prune w.npy -o w.npy
expect_status 2
expect_error w.npy
expect_same w.npy original.npy
run prune w.npy -f -o w.npy
expect_status 2
expect_same w.npy original.npy
ln -s w.npy link.npy
ln w.npy hard.npy
run prune w.npy -f -o link.npy
expect_status 2
run prune w.npy -f -o hard.npy
expect_status 2
run prune link.npy -f -o w.npy
expect_status 2
expect_same w.npy original.npy
run prune - -f -o w.npy <w.npy
expect_status 2
expect_same w.npy original.npy

# the shell has truncated nothing: it is the same file, opened for appending
cp w.npy append.npy
"$S24" prune append.npy -o - >>append.npy 2>.stderr
echo $? >.status
expect_status 2
expect_same append.npy original.npy

run prune w.npy -f -o out.s24 -q
expect_status 0
run verify out.s24
expect_status 0
cp out.s24 good.s24

# a failure leaves the old output
echo nonsense >bad.npy
run prune bad.npy -f -o out.s24
expect_status 3
expect_same out.s24 good.s24
head -c 100 w.npy >short.npy
run prune short.npy -f -o out.s24
expect_status 3
expect_same out.s24 good.s24

echo precious >back.npy
run decompress out.s24 -o back.npy
expect_status 4
expect_error back.npy exists
expect_same back.npy precious
run decompress out.s24 -f -o out.s24 --to npy
expect_status 2
expect_same out.s24 good.s24
run decompress out.s24 -f -o back.npy
expect_status 0
run verify back.npy
expect_status 0

expect_only . w.npy original.npy out.s24 precious link.npy hard.npy append.npy good.s24 bad.npy short.npy back.npy
