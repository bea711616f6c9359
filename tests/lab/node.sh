# Makes a fresh set of namespaces a Debian machine with systemd that looks like a Proxmox node, and becomes its process 1.
# Arguments: the node's name, its address, the run's folder, the node's root file system, the stand-in executable, the
# product's executable (or "").
set -eu
name=$1 address=$2 run=$3 base=$4 standin=$5 product=$6
# Read before /proc is this namespace's own: the number that the outside knows this process by.
read -r outside _ </proc/self/stat
hostname "$name"

# Whatever is written on the node is gone with it.
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root /mnt/net
mount -t overlay -o "lowerdir=$base,upperdir=/mnt/upper,workdir=/mnt/work" overlay /mnt/root
root=/mnt/root
mount -t proc proc "$root/proc"
# The kernel's settings belong to the machine that the lab runs on; only a node's network is its own.
mount --bind "$root/proc/sys/net" /mnt/net
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount --move /mnt/net "$root/proc/sys/net"
# Unprivileged containers may mount a proc of their own only where a whole one is to be seen already.
mkdir "$root/mnt/proc"
mount -t proc proc "$root/mnt/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 none "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/net"
for device in null zero full random urandom tty net/tun; do
    [ -e "/dev/$device" ] || continue
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"

mkdir -p "$root/mnt/pve" "$root/mnt/rootfs" "$root/etc/pve" "$root/root/.ssh"
mount --bind "$run/pve" "$root/etc/pve"
mount --bind "$run/rootfs" "$root/mnt/rootfs"
touch "$root/mnt/standin" "$root/mnt/remotectl"
mount --bind "$standin" "$root/mnt/standin"
if [ -n "$product" ]; then
    mount --bind "$product" "$root/mnt/remotectl"
    ln -s /mnt/remotectl "$root/usr/bin/remotectl"
fi
if [ "$name" != driver ]; then
    for tool in pct qm pvesh pveum pveversion; do ln -s /mnt/standin "$root/usr/sbin/$tool"; done
fi
echo "$name" >"$root/etc/hostname"
cp "$run/hosts" "$root/etc/hosts"
cp "$run/ssh/id_ed25519" "$run/ssh/known_hosts" "$root/root/.ssh/"
cp "$run/ssh/id_ed25519.pub" "$root/root/.ssh/authorized_keys"
chmod 700 "$root/root/.ssh"
chmod 600 "$root/root/.ssh/id_ed25519"

ip link set lo up
ip link add vmbr0 type bridge
ip address add "$address/16" dev vmbr0
ip link set vmbr0 up

cd "$root"
mkdir -p mnt/old
pivot_root . mnt/old
umount -l /mnt/old
echo "ready $outside"
exec setpriv --bounding-set=-sys_time,-sys_module env -i container=lab /lib/systemd/systemd </dev/null >/dev/null 2>&1
