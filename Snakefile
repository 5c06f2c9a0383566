# One rule for every notebook: make reproduce, or by hand
#   python -m snakemake --cores 2 --config profile=quick only=a1_q1_softmax_regression
# A second run does nothing; an edited notebook reruns itself and what needs it. On a cluster: profiles/slurm.
import sys

sys.path.insert(0, workflow.basedir)
from reproduce import params, record, runner, workflow as around

PROFILE = config.get("profile", "smoke")
if PROFILE not in params.PROFILES:
    raise WorkflowError(f"There is no profile {PROFILE!r}; expected one of {', '.join(params.PROFILES)}.")
NAMES = around.chosen(config.get("only"))
PYTHON = sys.executable
if workflow.is_main_process:
    around.unlock_if_alone()
    around.withdraw_stale(runner.notebooks(), PROFILE)


wildcard_constraints:
    name="[A-Za-z0-9_-]+",
    profile="|".join(params.PROFILES),


rule all:
    default_target: True
    input:
        expand("runs/{profile}/{name}.done", profile=PROFILE, name=NAMES),


def settings(wildcards):
    return [] if wildcards.profile == "smoke" else [f"params/{wildcards.profile}/{wildcards.name}.yml"]


def code(wildcards):
    return [str(p.relative_to(runner.root())) for p in record.code_files(wildcards.name)]


def earlier_chapters(wildcards):
    return [f"runs/{wildcards.profile}/{other}.done" for other in runner.needs().get(wildcards.name, [])]


def threads(wildcards):
    """Smoke runs are small, so as many at a time as there are cores; of the others one has all of them."""
    return 1 if wildcards.profile == "smoke" else workflow.cores if workflow.local_exec else 2


# The stamp says that Snakemake saw the run end. The run itself is no output, because Snakemake removes
# outputs of a job that a scheduler calls failed, even if it was finished just over its time.
rule notebook:
    input:
        notebook="notebooks/{name}.ipynb",
        settings=settings,
        claims=lambda w: f"claims/{w.name.split('_')[0]}.yml",
        code=code,
        needs=earlier_chapters,
    output:
        touch("runs/{profile}/{name}.done"),
    threads: threads
    resources:
        gpu=lambda w: int(w.profile == "full"),
    shell:
        "{PYTHON:q} -m reproduce run {wildcards.name} --profile {wildcards.profile} --threads {threads} --wait"


onstart:
    if not workflow.local_exec:
        around.watch_queue()


# checkpoints are a run's safety until somebody else has found it finished
onsuccess:
    for name in NAMES:
        runner.tidy(runner.run_dir(PROFILE), name)
