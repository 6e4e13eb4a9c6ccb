# What the system does not allow.
. "$LIB"

f32 1 2 3 4 | npy w.npy '<f4' '(4,)'
if [ "$(id -u)" -eq 0 ]; then # root may do everything: be somebody else
    printf '#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups "%s" "$@"\n' "$S24" >as-nobody
    chmod 755 as-nobody
    chmod 777 .
    S24=$PWD/as-nobody
    run --version
    [ "$(cat .status)" -eq 0 ] || skip "root may do everything, and setpriv does not help"
fi

mkdir closed
chmod 555 closed
run prune w.npy -o closed/w.s24
expect_status 4
expect_error closed/w.s24 'Permission denied'
run prune w.npy -o closed/new/
expect_status 4
expect_error closed/new 'Permission denied'
cp w.npy secret.npy
chmod 000 secret.npy
for command in prune stats inspect verify; do
    run $command secret.npy
    expect_status 4
    expect_error secret.npy 'Permission denied'
done
