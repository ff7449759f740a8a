#!/bin/bash
# Runs the fuzzing client of Autobahn|Testsuite against a WebSocket echo server on 127.0.0.1.
#
#   autobahn.sh PORT [--quick] [--strict] [--cases LIST] [--exclude LIST] [--timeout SECONDS]
#
#   --quick     without the cases 9.*, the long messages, and with one of each kind of 12.* and 13.*, permessage-deflate
#   --strict    NON-STRICT answers and UNCLEAN closes count as failures too
#   --cases     instead of 1 to 7, 9, 10, 12 and 13; comma-separated, as '1.*,2.3'
#
# Prints 'N OK, M FAILED', the counts, and the failing cases. Exit status: 0 none failed, 1 some failed, 77 there is no Python 2.7,
# for which the suite is written, 125 it could not be installed or run.
#
# Python 2.7 is $AUTOBAHN_PY27, one on the PATH, or one of pyenv's. The first run installs the suite into a virtualenv under
# ${TESTBED_HOME:-~/.cache/netsvc-testbeds}, which takes about a minute.
set -eu
unset PYTHONPATH PYTHONHOME # trial sets it for its workers: a Python 2.7 would read modules of another version

usage() { sed -n '2,15s/^# \{0,1\}//p' "$0" >&2; exit 125; }

port=${1:-}
[[ $port =~ ^[0-9]+$ ]] || usage
shift
cases='' exclude='' strict=0 timeout=3600 quick=0
core='1.*,2.*,3.*,4.*,5.*,6.*,7.*,10.*'
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=1; shift ;;
    --strict) strict=1; shift ;;
    --cases) cases=${2:?}; shift 2 ;;
    --exclude) exclude="${exclude:+$exclude,}${2:?}"; shift 2 ;;
    --timeout) timeout=${2:?}; shift 2 ;;
    *) usage ;;
  esac
done

if [ -z "$cases" ]; then
  if [ $quick = 1 ]; then cases="$core,12.*.4,13.*.4"; else cases="$core,9.*,12.*,13.*"; fi
fi

home=${TESTBED_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/netsvc-testbeds}/autobahn

python27() { # the first that really is one: pyenv's shims are on the PATH for versions that are not chosen, too
  local candidate
  for candidate in "${AUTOBAHN_PY27:-}" python2.7 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7*/bin/python2.7; do
    if [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = 2.7 ]; then
      command -v "$candidate"
      return
    fi
  done
  echo "autobahn.sh: no Python 2.7 found (AUTOBAHN_PY27 names one)" >&2
  exit 77
}

install() { # the last releases that run on 2.7
  python3 -m venv "$home/tool" &&
    "$home/tool/bin/pip" -q install 'virtualenv==20.21.1' &&
    "$home/tool/bin/virtualenv" -q -p "$1" "$home/py27" &&
    "$home/py27/bin/pip" install 'autobahntestsuite==25.10.1' 'PyHamcrest==1.10.1' 'wsaccel==0.6.6' 'ujson==2.0.3' 'attrs==21.4.0' \
      'Automat==22.10.0' 'pyasn1==0.5.1' 'hyperlink==21.0.0'
}

if ! [ -x "$home/py27/bin/wstest" ]; then
  python=$(python27)
  mkdir -p "$home"
  install "$python" >"$home/install.log" 2>&1 || { tail -n 20 "$home/install.log" >&2; rm -rf "$home/py27"; exit 125; }
fi

report=$(mktemp -d "$home/report.XXXXXX")
python3 - "$report" "$port" "$cases" "$exclude" <<'PY'
import json
import sys

report, port, cases, exclude = sys.argv[1:]
specification = {
    "outdir": report,
    "servers": [{"agent": "netsvc", "url": f"ws://127.0.0.1:{port}", "options": {"version": 18}}],
    "cases": cases.split(","),
    "exclude-cases": exclude.split(",") if exclude else [],
    "exclude-agent-cases": {},
}
with open(f"{report}/specification.json", "w") as file:
    json.dump(specification, file)
PY
status=0
(cd "$report" && timeout "$timeout" "$home/py27/bin/wstest" -m fuzzingclient -s specification.json >wstest.log 2>&1) || status=$?
if ! [ -s "$report/index.json" ]; then
  echo "autobahn.sh: the suite made no report (exit status $status)" >&2
  tail -n 5 "$report/wstest.log" >&2
  exit 125
fi

status=0
python3 - "$report" "$strict" <<'PY' || status=$?
import json
import sys
from collections import Counter

report, strict = sys.argv[1], sys.argv[2] == "1"
with open(f"{report}/index.json") as file:
    cases = json.load(file).get("netsvc", {})
if not cases:
    print("no case ran: is the server there?")
    sys.exit(125)
good = {"OK", "INFORMATIONAL"} | (set() if strict else {"NON-STRICT"})
good_ends = good | (set() if strict else {"UNCLEAN"})
unknown = {name for name, case in cases.items() if case["behavior"] == "UNIMPLEMENTED"}
failed = {name for name, case in cases.items() if case["behavior"] not in good or case["behaviorClose"] not in good_ends} - unknown
print(f"{len(cases) - len(failed) - len(unknown)} OK, {len(failed)} FAILED")
for title, key in (("behaviour", "behavior"), ("close", "behaviorClose")):
    print(f"  {title}: " + ", ".join(f"{word} {count}" for word, count in sorted(Counter(case[key] for case in cases.values()).items())))
for name in sorted(failed, key=lambda name: [int(part) for part in name.split(".")]):
    print(f"  FAILED {name}: behaviour {cases[name]['behavior']}, close {cases[name]['behaviorClose']}")
sys.exit(1 if failed else 0)
PY
if [ "$status" = 0 ]; then rm -rf "$report"; else echo "  report: $report/index.html"; fi
exit "$status"
