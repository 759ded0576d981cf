#!/bin/sh
# scripts/train.sh CONFIG [key=value ...]
# Trains on what there is: the CPU, one GPU, or with PROCESSES=N that many processes (GPUs) of this machine.
# Several machines: set NODES, NODE_RANK and MASTER (host:port) on each.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-${VENV:-.venv}/bin/python}
[ -x "$python" ] || python=python3
# Threads that wait by spinning would take the cores from the processes that render.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
processes=${PROCESSES:-1}
if [ "${NODES:-1}" -gt 1 ]; then
    master=${MASTER:?expected MASTER=host:port of the first machine}
    exec "$python" -m torch.distributed.run --nproc_per_node "$processes" --nnodes "$NODES" \
        --node_rank "${NODE_RANK:?expected NODE_RANK=0 to NODES - 1}" \
        --master_addr "${master%:*}" --master_port "${master#*:}" -m handmesh train "$@"
elif [ "$processes" -gt 1 ]; then
    # --standalone takes a free port, so two runs on one machine do not meet.
    exec "$python" -m torch.distributed.run --standalone --nproc_per_node "$processes" -m handmesh train "$@"
fi
exec "$python" -m handmesh train "$@"
