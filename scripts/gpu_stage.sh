#!/bin/sh
# A stage of training on a borrowed GPU, in one call: minutes there are a day of a small CPU.
#
#   scripts/gpu_stage.sh pack STAGE CONFIG CHECKPOINT SET...    here: gather what travels into the folder STAGE
#   scripts/gpu_stage.sh run STAGE RESULT [key=value ...]       there: unpack, train, leave the checkpoint in RESULT
#
# SET: a folder in FreiHAND's layout (handmesh synth, handmesh label); its pictures travel as JPEG of SIDE pixels (176)
# and are packed there. At most EACH (2500) of a set travel, the first ones. The config's mixture names each set by its
# folder's name under data/. What is rendered as it goes ("synthetic") is rendered there, by WORKERS (14) processes.
# MINUTES (8) and PRECISION (bf16; "no" on a CPU) are the run's. Nothing is downloaded but, with STAGE_PYTHON=3.12, by pack:
# pydantic and orjson for a machine of that Python which lacks them.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-${VENV:-.venv}/bin/python}
[ -x "$python" ] || python=python3
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
usage() { sed -n '2,12p' "$0" | cut -c3- >&2; exit 2; }

pack() {
    [ $# -ge 4 ] || usage
    stage=$1 config=$2 checkpoint=$3
    shift 3
    mkdir -p "$stage/data"
    # One file, whatever it is based on; JSON is YAML.
    "$python" -c 'import json, sys; from handmesh.config import config_to_dict, load_config
print(json.dumps(config_to_dict(load_config(sys.argv[1])), indent=1))' "$config" > "$stage/config.yaml"
    if [ -n "${STAGE_PYTHON:-}" ]; then
        "$python" -m pip install -q --target "$stage/packages" --python-version "$STAGE_PYTHON" --only-binary=:all: \
            pydantic orjson
    fi
    cp "$checkpoint" "$stage/start.safetensors"
    for set in "$@"; do
        "$python" scripts/shrink_dataset.py "$set" "$stage/data/$(basename "$set")" --side "${SIDE:-176}" --each "${EACH:-2500}"
    done
    du -sh "$stage"
}

run() {
    [ $# -ge 2 ] || usage
    stage=$(cd "$1" && pwd) result=$2
    shift 2
    mkdir -p "$result"
    result=$(cd "$result" && pwd)
    "$python" -c 'import orjson, pydantic' 2> /dev/null || export PYTHONPATH="$PYTHONPATH:$stage/packages"
    for set in "$stage"/data/*/; do
        [ -f "${set}training.pack" ] || "$python" -m handmesh pack "$set"
    done
    # The config's folders are where the stage was unpacked.
    sed "s#\([ :{\"]\)data/#\1$stage/data/#g" "$stage/config.yaml" > "$result/config.yaml"
    "$python" -m handmesh train "$result/config.yaml" train.start_from="$stage/start.safetensors" \
        train.max_minutes="${MINUTES:-8}" train.precision="${PRECISION:-bf16}" data.workers="${WORKERS:-14}" \
        output="$result/run" "$@"
    "$python" scripts/release_weights.py "$result/run/last" --output "$result/stage.safetensors"
    cp "$result/run/log.jsonl" "$result/log.jsonl"
}

[ $# -ge 1 ] || usage
command=$1
shift
case $command in
    pack | run) "$command" "$@" ;;
    *) usage ;;
esac
