#!/usr/bin/busybox sh
# The first process of a guest: make a small system, run /job/command, give back its results, reboot.
# ttyS0 is the kernel's console, ttyS1 the command's stdout, ttyS2 its stderr, ttyS3 what this script has to say:
# "started"; "ended CODE" at once; "sent OUT ERR", the bytes of its output (- where that was cut off); a compressed tar
# of the files asked for. The command may change all that it can reach: what is needed behind it is opened before it.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
busybox mount -t devpts pts /dev/pts
for folder in dev/shm run tmp; do busybox mount -t tmpfs -o mode=1777 tmp /$folder; done
busybox mount -t bpf bpf /sys/fs/bpf
busybox mount -t tracefs trace /sys/kernel/tracing
busybox mount -t debugfs debug /sys/kernel/debug
busybox mount -t cgroup2 cgroup /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd
busybox ip link set lo up
busybox hostname guest
for port in 1 2 3; do stty -F /dev/ttyS$port raw -echo; done

mkdir /run/back
busybox mount -t tmpfs -o mode=700 back /run/back
mkdir /run/back/files
mkfifo /run/out /run/err /run/out.copy /run/err.copy
exec 3>/dev/ttyS3 4</job/fetch
wc -c </run/out.copy >/run/out.bytes & out_bytes=$!
wc -c </run/err.copy >/run/err.bytes & err_bytes=$!
tee /dev/ttyS1 </run/out >/run/out.copy 3>&- & out=$!
tee /dev/ttyS2 </run/err >/run/err.copy 3>&- & err=$!
echo started >&3
cd /root
/job/command </dev/null >/run/out 2>/run/err 3>&- 4<&-
code=$?
echo "ended $code" >&3
# a process that the command left behind may hold its output open
{ sleep 3; kill $out $err; } 2>/dev/null & late=$!
wait $out && wait $out_bytes && read -r out </run/out.bytes || out=-
wait $err && wait $err_bytes && read -r err </run/err.bytes || err=-
kill $late 2>/dev/null
echo "sent $out $err" >&3
# copied first: what lies in /proc or /sys has no size, and tar would take it for empty
cd /run/back/files
while read -r path; do
    [ -e "/$path" ] || continue
    mkdir -p "./$(dirname "$path")"
    cp -aHT "/$path" "./$path"
done <&4 2>/dev/null
tar -cz -f - -C /run/back files >&3
reboot -f
