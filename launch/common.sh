# shellcheck shell=bash
# What the launchers share; sourced, not run.
#
# A launcher takes its own options, then `--`, then the program and its flags:
#   launch/<launcher>.sh --option=value ... -- train.py --config=... --workdir=...

# The comment at the head of a launcher is its help.
help() {
  sed -n '2,/^[^#]/{/^#/{s/^# \{0,1\}//;p;};}' "$0"
}

fail() {
  echo "error: $1" >&2
  echo "What it takes: $0 --help" >&2
  exit 2
}

# `parse "NAMES" ARGUMENTS`: sets the variable of each --option=value that is one of the
# names, and the array `program` to what stands behind `--`.
parse() {
  local options="$1" option
  shift
  dry_run=""
  program=()
  while (($#)); do
    case "$1" in
      --help | -h) help && exit 0 ;;
      --dry_run) dry_run=1 ;;
      --)
        shift
        program=("$@")
        break
        ;;
      --*=*)
        option="${1%%=*}"
        option="${option#--}"
        [[ " $options " == *" $option "* ]] ||
          fail "there is no option --$option; there are: $options"
        printf -v "$option" '%s' "${1#*=}"
        ;;
      *) fail "$1: options are --name=value; the program stands behind --" ;;
    esac
    shift
  done
  ((${#program[@]})) || fail "the program is missing: ... -- train.py --config=..."
}

need() {
  local option
  for option in "$@"; do
    [[ -n "${!option}" ]] || fail "--$option=... is missing"
  done
}

# Words as one line of shell, quoted where they must be. No double quotes: xpk puts the
# line between such.
quoted() {
  local word line=()
  for word in "$@"; do
    [[ "$word" =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
    line+=("$word")
  done
  echo "${line[*]}"
}

# Runs a command, or prints it.
run() {
  if [[ -n "$dry_run" ]]; then
    quoted "$@"
  else
    "$@"
  fi
}
