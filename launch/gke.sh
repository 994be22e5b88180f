#!/usr/bin/env bash
# A workload on GKE by xpk: slices of TPU, or nodes of GPUs.
#
#   launch/gke.sh --workload=NAME --cluster=CLUSTER --device=v5litepod-256 \
#       --image=REGISTRY/IMAGE -- train.py --config=configs/unires.py \
#       --workdir=gs://bucket/runs/unires ...
#   launch/gke.sh ... --device=h100-80gb-8 --nodes=2 -- train.py ...
#
#   --workload=NAME    of this run in the cluster
#   --cluster=CLUSTER  made by `xpk cluster create`
#   --device=TYPE      v5litepod-256, v5p-128, v6e-256; h100-80gb-8, h200-141gb-8, ...
#   --image=IMAGE      with this repository as its working directory, and its packages
#   --slices=N         of TPU; default: 1
#   --nodes=N          of GPUs; default: 1
#   --zone=ZONE        default: that of gcloud
#   --project=NAME     default: that of gcloud
#   --restarts=N       after a stop or a lost node; default: 50
#   --grace=SECONDS    between notice and end, to save in; default: 120
#   --cache=FOLDER     compiled programs, a bucket or a folder; default: none are kept
#   --dry_run          print the command and end
#
# TPU pods find each other; of GPU nodes xpk's variables tell who is who. A pod that is
# evicted saves and exits with 75, which restarts the workload where it stopped.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

workload="" cluster="" device="" image="" slices=1 nodes=1 zone="" project=""
restarts=50 grace=120 cache=""
parse "workload cluster device image slices nodes zone project restarts grace cache" "$@"
need workload cluster device image

remote=""
[[ -z "$cache" ]] || remote+="JAX_COMPILATION_CACHE_DIR=$(quoted "$cache") "
remote+="python $(quoted "${program[@]}")"
command=(xpk workload create "--workload=$workload" "--cluster=$cluster")
case "$device" in
  v[0-9]* | tpu*) command+=("--tpu-type=$device" "--num-slices=$slices") ;;
  *)
    command+=("--device-type=$device" "--num-nodes=$nodes")
    # The variables are those of the pod.
    # shellcheck disable=SC2016
    remote+=' --coordinator=$JAX_COORDINATOR_ADDRESS:$JAX_COORDINATOR_PORT --processes=$NNODES --process=$NODE_RANK'
    ;;
esac
command+=("--docker-image=$image")
[[ -z "$zone" ]] || command+=("--zone=$zone")
[[ -z "$project" ]] || command+=("--project=$project")
run "${command[@]}" "--max-restarts=$restarts" --restart-on-exit-codes=75 \
  "--termination-grace-period-seconds=$grace" "--command=$remote"
