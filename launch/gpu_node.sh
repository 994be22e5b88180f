#!/usr/bin/env bash
# All GPUs of this machine.
#
#   launch/gpu_node.sh -- train.py --config=configs/unires.py --workdir=runs/unires ...
#   launch/gpu_node.sh --processes=8 -- train.py ...
#
#   --processes=N   one process for each of N GPUs; default: 1 for all, which is simpler
#                   and as fast as long as that process keeps up
#   --port=PORT     where they meet on this machine; default: 12345
#   --python=FILE   default: python
#   --cache=FOLDER  compiled programs; default: none are kept
#   --dry_run       print the commands and end
#
# SIGTERM is passed on. Exits with 0 if all did, with 75 if the run was stopped and
# saved, with another process' code otherwise.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

processes=1 port=12345 python=python cache=""
parse "processes port python cache" "$@"

environment=()
[[ -z "$cache" ]] || environment+=("JAX_COMPILATION_CACHE_DIR=$cache")
if ((processes == 1)); then
  command=("$python" "${program[@]}")
  ((${#environment[@]} == 0)) || command=(env "${environment[@]}" "${command[@]}")
  [[ -n "$dry_run" ]] || exec "${command[@]}"
  run "${command[@]}"
  exit
fi

started=()
stopping=""
# shellcheck disable=SC2317,SC2329
pass_on() {
  stopping=1
  kill -TERM "${started[@]}" 2>/dev/null || true
}
trap pass_on TERM INT
for ((i = 0; i < processes; i++)); do
  command=(env "${environment[@]}" "CUDA_VISIBLE_DEVICES=$i" "$python" "${program[@]}"
    "--coordinator=localhost:$port" "--processes=$processes" "--process=$i")
  if [[ -n "$dry_run" ]]; then
    run "${command[@]}"
  else
    "${command[@]}" &
    started+=("$!")
  fi
done
code=0
for pid in "${started[@]}"; do
  ended=0
  while true; do
    status=0
    wait "$pid" || status=$?
    ((status == 127)) || ended=$status
    [[ -n "$stopping" ]] || break
    stopping="" # a signal ends the wait, not the process: wait once more
  done
  ((ended == 0 || (code != 0 && code != 75))) || code=$ended
done
exit "$code"
