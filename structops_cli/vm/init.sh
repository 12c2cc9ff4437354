#!/usr/bin/busybox sh
# The first process of a guest: make a small system, run /job/command, give back its results, reboot.
# ttyS0 is the kernel's console, ttyS1 the command's stdout, ttyS2 its stderr, ttyS3 what this script has to say:
# a line when the command starts, and at the end a compressed tar with its exit code and the files asked for.
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

. /job/environment
mkfifo /run/out /run/err
cat /run/out >/dev/ttyS1 & out=$!
cat /run/err >/dev/ttyS2 & err=$!
echo started >/dev/ttyS3
cd /root
/job/command </dev/null >/run/out 2>/run/err
echo $? >/job/exit
mkdir /run/back
# a process that the command left behind may hold its output open
{ sleep 3; kill $out $err; } 2>/dev/null & late=$!
wait $out $err
kill $late 2>/dev/null
# copied first: what lies in /proc or /sys has no size, and tar would take it for empty
while read -r path; do
    mkdir -p "/run/back/files/${path%/*}"
    cp -a "/$path" "/run/back/files/$path"
done </job/fetch 2>/dev/null
cp /job/exit /run/back/
tar -cz -f - -C /run/back . >/dev/ttyS3
reboot -f
