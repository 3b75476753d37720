#!/bin/sh
# A node's power supply: starts its first process, and starts it again when the node asked for a reboot. It lives on the
# host in the node's control group, so that a node that is switched off takes it along.
#
# power.sh FOLDER PROCESSES REPOSITORY PYTHON CLUSTER NODE COMMAND...   (COMMAND starts machine.sh in its namespaces)
set -u
folder=$1 processes=$2 repository=$3 python=$4 cluster=$5 node=$6
shift 6

alone() { # whether nothing but this shell is left of the node's components
	while read -r pid; do
		[ "$pid" = $$ ] || return 1
	done <"$processes"
}

start=
while :; do
	status=0
	"$@" || status=$?
	# The kernel ends the first process of a process namespace by SIGHUP when something in it called reboot(2).
	[ "$status" = 129 ] || exit "$status"
	echo "power: $node reboots"
	rm -f "$folder/pid" "$folder/ready"
	[ -z "$start" ] || kill -KILL "$start" 2>/dev/null
	wait
	until alone; do sleep 0.05; done
	# A machine without kubelet is of no use: what starts the components waits until the machine stands.
	(cd "$repository" && exec "$python" -m hack.cluster --name "$cluster" start "$node") &
	start=$!
done
