#!/bin/sh
# The first process of a machine (a node, or the control plane's): builds its root file system inside namespaces of its
# own, moves into it and stays as its init. Nothing here reaches the host: when this process ends, every mount, process
# and interface of the machine goes with it.
#
# machine.sh FOLDER TREE KIND HOSTNAME [SOURCE TARGET ro|rw]...
set -eu
folder=$1 tree=$2 kind=$3 name=$4
shift 4
root=$folder/root

# The host's /proc is still mounted here, so this is the number by which the host knows this process.
read -r pid _ </proc/self/stat
echo "$pid" >"$folder/pid"
exec 3>"$folder/ready"

hostname "$name"
mkdir -p "$folder/upper" "$folder/work" "$root"
mount -t overlay -o "lowerdir=$tree,upperdir=$folder/upper,workdir=$folder/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"

# A /dev of its own: the host's disks must not be there for a pod that is given the node's root.
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty kmsg fuse; do
	[ -e "/dev/$device" ] || continue
	touch "$root/dev/$device"
	mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

shadow() { # shadow FILE CONTENT: let the machine see, and write, a file of its own in place of the kernel's
	[ -e "$root$1" ] || return 0
	mkdir -p "$root/run/shadow$(dirname "$1")"
	echo "$2" >"$root/run/shadow$1"
	mount --bind "$root/run/shadow$1" "$root$1"
}

mount_cgroups() { # the machine's cgroup namespace shows its own groups as the root
	groups=$root/sys/fs/cgroup
	if [ "$(cut -d: -f2 /proc/self/cgroup | grep -c .)" = 0 ]; then
		mount -t cgroup2 cgroup2 "$groups"
		return
	fi
	mount -t tmpfs -o mode=755 tmpfs "$groups"
	while IFS=: read -r _ controllers _; do
		case $controllers in
		'') ;;
		name=*)
			mkdir "$groups/${controllers#name=}"
			mount -t cgroup -o "none,$controllers" cgroup "$groups/${controllers#name=}"
			;;
		*)
			mkdir "$groups/$controllers"
			mount -t cgroup -o "$controllers" cgroup "$groups/$controllers"
			;;
		esac
	done </proc/self/cgroup
}

echo 1 >"$root/proc/sys/net/ipv4/ip_forward"
# A connection to a machine that was switched off would keep this network alive for minutes after its last process.
echo 1 >"$root/proc/sys/net/ipv4/tcp_orphan_retries"
if [ "$kind" = node ]; then
	mount_cgroups
	# Services between pods of one bridge need the bridge's packets to pass the packet filter.
	echo 1 >"$root/proc/sys/net/bridge/bridge-nf-call-iptables"
	shadow /proc/sys/kernel/random/boot_id "$(cat /proc/sys/kernel/random/uuid)"
	# The kubelet sets these for the whole machine; it shall believe so and leave the host as it is.
	shadow /proc/sys/vm/overcommit_memory 1
	shadow /proc/sys/vm/panic_on_oom 0
	shadow /proc/sys/kernel/panic 10
	shadow /proc/sys/kernel/panic_on_oops 1
	shadow /proc/sys/kernel/keys/root_maxkeys 1000000
	shadow /proc/sys/kernel/keys/root_maxbytes 25000000
fi

while [ $# -ge 3 ]; do
	mkdir -p "$root$2"
	mount --bind "$1" "$root$2"
	[ "$3" = rw ] || mount -o remount,bind,ro "$root$2"
	shift 3
done

cd "$root"
mkdir -p .old
pivot_root . .old
umount -l /.old
rmdir /.old
# Volumes that the kubelet mounts have to reach containers that already run.
mount --make-rshared /
echo ready >&3
exec 3>&-
[ "$kind" = node ] || exec tini -s -- sleep infinity
# As a machine's init does: takes requests, lets what runs end, and restarts. In a process namespace reboot(2) ends the
# machine and nothing else, and power.sh on the host sees why it ended.
mkfifo -m 600 /run/initctl
exec tini -s -- sh -c '
	exec <>/run/initctl
	while read -r request; do
		[ "$request" = reboot ] || continue
		sleep 2
		kill -TERM -1
		sleep 1
		busybox reboot -f
	done
'
