#!/usr/bin/env bash
# A Ray cluster inside a Slurm allocation, one study on it. Usage: sbatch [--nodes N ...] slurm.sh study.yaml [arguments of ablate run]
#SBATCH --job-name=ablate
#SBATCH --ntasks-per-node=1
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

workspace=${ABLATE_WORKSPACE:-$PWD/.ablate}   # on a file system that all nodes share
port=$((20000 + SLURM_JOB_ID % 20000))        # so that two jobs on one node do not meet
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')}
export RAY_USAGE_STATS_ENABLED=0

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=$(srun --nodes=1 --ntasks=1 -w "${nodes[0]}" hostname -I | awk '{print $1}')
resources=(--num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_ON_NODE:-0}")

srun --nodes=1 --ntasks=1 -w "${nodes[0]}" \
  ray start --head --node-ip-address "$head" --port "$port" --include-dashboard false "${resources[@]}" --block &
cluster=($!)
trap 'kill "${cluster[@]}" 2>/dev/null || true; wait' EXIT
until ray status --address "$head:$port" >/dev/null 2>&1; do
  kill -0 "${cluster[0]}" || { echo "Ray's head did not start" >&2; exit 3; }
  sleep 1
done
if ((${#nodes[@]} > 1)); then
  srun --nodes=$((${#nodes[@]} - 1)) --ntasks=$((${#nodes[@]} - 1)) --exclude="${nodes[0]}" \
    ray start --address "$head:$port" "${resources[@]}" --block &
  cluster+=($!)
fi

ablate run "$@" --address "$head:$port" --workspace "$workspace" &
run=$!
trap 'kill -TERM $run' TERM
code=0
wait $run || code=$?
while kill -0 $run 2>/dev/null; do wait $run || code=$?; done
if ((code == 130)); then scontrol requeue "$SLURM_JOB_ID"; fi   # interrupted by the time limit: go on in the next allocation
exit $code
