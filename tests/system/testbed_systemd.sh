#!/bin/bash
# A machine to try units on: the installed systemd as PID 1 of namespaces of its own, on a throw-away overlay of /.
#
#   testbed_systemd.sh start NAME [--copy SOURCE:TARGET]... [--bind SOURCE:TARGET]...    boot it; half a second
#   testbed_systemd.sh exec NAME COMMAND [ARGUMENT]...                                   run a command in it; its exit status
#   testbed_systemd.sh stop NAME                                                         power it off
#
# The machine sees the host's files; what it writes goes to memory and is gone with it. --copy puts a file or directory into it, --bind
# shows one of the host's read-only at another path. It has a network of its own with nothing but loopback. Needs root, systemd,
# util-linux, iproute2 and capsh. Exit 125: the testbed itself failed.
set -u

machines=/run/netsvc-testbed
boot_deadline=30   # seconds
stop_deadline=15
environment=(env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb
  SYSTEMD_PAGER=cat SYSTEMD_COLORS=0 container=netsvc-testbed)

# Units that would look for hardware, touch the kernel's settings or fetch packages.
masked=(systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket systemd-udevd-kernel.socket
  systemd-modules-load.service systemd-sysctl.service systemd-remount-fs.service systemd-binfmt.service systemd-timesyncd.service
  systemd-random-seed.service systemd-pstore.service systemd-firstboot.service systemd-tmpfiles-clean.timer kmod-static-nodes.service
  dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount
  proc-sys-fs-binfmt_misc.automount apt-daily.timer apt-daily-upgrade.timer)

die() { echo "testbed_systemd.sh: $*" >&2; exit 125; }

# --- outside: on the host ---

cgroup_root() { # where cgroup 2 is mounted
  awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts
}

own_cgroup() { # this process' own cgroup below there, "" for the top
  local path
  path=$(awk -F: '$1 == 0 { print $3 }' /proc/self/cgroup)
  [ "$path" = / ] || echo "$path"
}

boot() { # NAME; copies and binds are in $state/copies and $state/binds
  local name=$1 state="$machines/$1" cgroup outer init i
  cgroup="$(cgroup_root)$(own_cgroup)/netsvc-testbed-$name"
  mkdir -p "$state/upper" "$state/root" "$cgroup" || die "no cgroup at $cgroup"
  echo "$cgroup" >"$state/cgroup"
  (
    echo $BASHPID >"$cgroup/cgroup.procs"
    exec setsid unshare --mount --pid --fork --uts --ipc --cgroup --net --propagation private \
      bash "$0" __init "$state" </dev/null >"$state/console" 2>&1
  ) &
  outer=$!
  echo $outer >"$state/outer"
  for ((i = 0; i < boot_deadline * 10; i++)); do
    kill -0 $outer 2>/dev/null || { cat "$state/console" >&2; clean_up "$state"; die "$name ended while booting"; }
    init=$(awk '{ print $1 }' /proc/$outer/task/$outer/children 2>/dev/null)
    if [ -n "$init" ] && [ "$(cat "/proc/$init/comm" 2>/dev/null)" = systemd ]; then
      echo "$init" >"$state/init"
      inside "$name" systemctl is-active --quiet basic.target 2>/dev/null && return
    fi
    sleep 0.1
  done
  cat "$state/console" >&2
  inside "$name" systemctl list-jobs >&2
  power_off "$name"
  die "$name did not boot within $boot_deadline s"
}

inside() ( # NAME COMMAND...; a subshell, since it moves itself into the machine's cgroup
  state="$machines/$1" init=$(cat "$machines/$1/init" 2>/dev/null) || die "$1 does not run"
  shift
  scope="$(cat "$state/cgroup")/testbed-exec.scope"
  for _ in 1 2 3; do # systemd removes empty cgroups while it boots: try again
    mkdir -p "$scope" && echo $BASHPID >"$scope/cgroup.procs" && break
  done 2>/dev/null
  exec nsenter --target "$init" --mount --uts --ipc --net --pid --cgroup --root --wd "${environment[@]}" "$@"
)

power_off() { # NAME
  local state="$machines/$1" init i
  init=$(cat "$state/init" 2>/dev/null)
  if [ -n "$init" ] && kill -s RTMIN+4 "$init" 2>/dev/null; then # systemd's signal for poweroff.target
    for ((i = 0; i < stop_deadline * 10; i++)); do kill -0 "$init" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$init" 2>/dev/null && echo "testbed_systemd.sh: $1 did not power off within $stop_deadline s and was killed" >&2
  fi
  clean_up "$state"
}

clean_up() { # STATE
  local i
  for ((i = 0; i < 20; i++)); do kill -0 "$(cat "$1/outer" 2>/dev/null)" 2>/dev/null || break; sleep 0.1; done
  [ -e "$1/cgroup" ] && find "$(cat "$1/cgroup")" -depth -type d -exec rmdir {} + 2>/dev/null
  rm -rf --one-file-system "$1"
}

# --- inside: PID 1 of the new namespaces, on its way to becoming systemd ---

mount_overlay() { # STATE
  mount -t tmpfs -o mode=755 upper "$1/upper"
  mkdir "$1/upper/files" "$1/upper/work"
  mount -t overlay -o "lowerdir=/,upperdir=$1/upper/files,workdir=$1/upper/work" overlay "$1/root"
}

forget_host() { # ROOT: none of the host's own units, mounts and logs
  local units="$1/etc/systemd/system" unit
  rm -rf "$units" "$1/var/log/journal"
  mkdir -p "$units" "$1/etc/systemd/journald.conf.d" "$1/etc/tmpfiles.d"
  : >"$1/etc/fstab"
  for unit in "${masked[@]}"; do ln -s /dev/null "$units/$unit"; done
  printf 'd /tmp 1777 root root -\nd /var/tmp 1777 root root -\n' >"$1/etc/tmpfiles.d/tmp.conf"
  printf '[Journal]\nStorage=volatile\nReadKMsg=no\nRateLimitIntervalSec=0\nForwardToSyslog=no\n' >"$1/etc/systemd/journald.conf.d/testbed.conf"
  tr -d - </proc/sys/kernel/random/uuid >"$1/etc/machine-id"
}

mount_kernel() { # ROOT: what a machine gets from its kernel
  local root=$1 node
  mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
  mount --bind "$root/proc/sys" "$root/proc/sys"
  mount -o remount,bind,ro "$root/proc/sys"
  mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys" 2>/dev/null || mount --rbind /sys "$root/sys"
  mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
  mount -t tmpfs -o mode=755,nosuid dev "$root/dev"
  for node in null zero full random urandom tty; do touch "$root/dev/$node"; mount --bind "/dev/$node" "$root/dev/$node"; done
  mkdir "$root"/dev/{pts,shm,mqueue}
  mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
  mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
  mount -t mqueue mqueue "$root/dev/mqueue"
  ln -s pts/ptmx "$root/dev/ptmx"
  ln -s /proc/self/fd "$root/dev/fd"
  ln -s fd/0 "$root/dev/stdin"; ln -s fd/1 "$root/dev/stdout"; ln -s fd/2 "$root/dev/stderr"
  mount -t tmpfs -o mode=755,nosuid,nodev run "$root/run"
  mkdir -p "$root/run/lock"
}

bring_files() { # STATE ROOT
  local pair
  while IFS= read -r pair; do
    mkdir -p "$(dirname "$2${pair##*:}")"
    cp -a --no-preserve=ownership "${pair%%:*}" "$2${pair##*:}"
  done <"$1/copies"
  while IFS= read -r pair; do
    mkdir -p "$2${pair##*:}"
    mount --bind "${pair%%:*}" "$2${pair##*:}"
    mount -o remount,bind,ro "$2${pair##*:}"
  done <"$1/binds"
}

become_systemd() { # STATE
  set -e
  local root="$1/root"
  mount_overlay "$1"
  forget_host "$root"
  mount_kernel "$root"
  bring_files "$1" "$root"
  hostname testbed
  ip link set lo up
  mkdir "$root/run/host"
  cd "$root"
  pivot_root . run/host
  exec chroot . /bin/bash -c 'umount -l /run/host; rmdir /run/host; mount --make-rshared /
    exec "$@" capsh --drop=cap_sys_module,cap_sys_time --shell=/lib/systemd/systemd -- \
      --system --unit=basic.target --log-target=journal-or-kmsg --show-status=no' bash "${environment[@]}"
}

# --- the command line ---

if [ "${1:-}" = __init ]; then become_systemd "$2"; die "not reached"; fi
[ "$(id -u)" = 0 ] || die "needs root"
for program in unshare nsenter capsh ip /lib/systemd/systemd; do command -v "$program" >/dev/null || die "$program is missing"; done
action=${1:-} name=${2:-}
[ -n "$name" ] || die "usage: start|exec|stop NAME …"
shift 2
case $action in
  start)
    [ ! -e "$machines/$name" ] || die "$name exists already"
    mkdir -p "$machines/$name"
    : >"$machines/$name/copies"; : >"$machines/$name/binds"
    while [ $# -gt 0 ]; do
      case $1 in --copy) echo "$2" >>"$machines/$name/copies" ;; --bind) echo "$2" >>"$machines/$name/binds" ;; *) die "unknown argument $1" ;; esac
      shift 2
    done
    boot "$name" ;;
  exec) inside "$name" "$@" ;;
  stop) power_off "$name" ;;
  *) die "unknown action $action" ;;
esac
