#!/usr/bin/env bash
# Slurm's daemons, with which the tests run a real cluster of one node on this machine.
set -euo pipefail
. "$(dirname "$0")/apt.sh"

PATH=$PATH:/usr/sbin # where Debian puts daemons, and not on every user's path

have slurmctld slurmd sbatch munged ||
    install_packages "Slurm for the tests of the queue" "about half a minute" \
        slurmctld slurmd slurm-client munge
