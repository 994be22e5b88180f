#!/usr/bin/env bash
# The same command on every host of a Cloud TPU slice.
#
#   launch/tpu_slice.sh --name=SLICE --zone=us-west4-a -- \
#       train.py --config=configs/unires.py --workdir=gs://bucket/runs/unires ...
#
#   --name=SLICE    the TPU VM
#   --zone=ZONE     where it is
#   --project=NAME  default: that of gcloud
#   --dir=FOLDER    of this repository on each host; default: unires_jax
#   --python=FILE   the interpreter there; default: python3
#   --cache=FOLDER  compiled programs, a bucket or a folder; default: none are kept
#   --dry_run       print the command and end
#
# The hosts find each other. The command ends with the connection: start it in tmux, or
# from a machine that stays. Exit code 75 is a run that was stopped and saved: start it
# again.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

name="" zone="" project="" dir=unires_jax python=python3 cache=""
parse "name zone project dir python cache" "$@"
need name zone

remote="cd $(quoted "$dir") && "
[[ -z "$cache" ]] || remote+="JAX_COMPILATION_CACHE_DIR=$(quoted "$cache") "
remote+="$(quoted "$python" "${program[@]}")"
command=(gcloud compute tpus tpu-vm ssh "$name" "--zone=$zone")
[[ -z "$project" ]] || command+=("--project=$project")
run "${command[@]}" --worker=all "--command=$remote"
