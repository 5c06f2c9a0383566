# One graph for everything: make reproduce, or by hand
#   python -m snakemake --cores 2 --config profile=quick only=a1_q1_softmax_regression
# A second run does nothing; a notebook whose code was edited is run again. Trainings that take half a minute or
# more (--config own_job=SECONDS) are jobs of their own. On a cluster: profiles/slurm.
import sys

sys.path.insert(0, workflow.basedir)
from cifar_utils.paths import chapters
from reproduce import params, workflow as around

PROFILE = config.get("profile", "smoke")
if PROFILE not in params.PROFILES:
    raise WorkflowError(f"There is no profile {PROFILE!r}; expected one of {', '.join(params.PROFILES)}.")
NAMES = around.chosen(config.get("only"))
PYTHON = sys.executable
if workflow.is_main_process:
    around.unlock_if_alone()
    stale = around.withdraw_stale(chapters(), PROFILE)
    around.plan_trainings(NAMES, stale, PROFILE, config.get("own_job"))


wildcard_constraints:
    name="[A-Za-z0-9_-]+",
    profile="|".join(params.PROFILES),
    key="[0-9a-f]{16}",


rule all:
    default_target: True
    input:
        expand("runs/{profile}/{name}.done", profile=PROFILE, name=NAMES),


def trainings(wildcards):
    return [f"runs/trainings/{key}.done" for key in around.trainings_of(wildcards.name, wildcards.profile)]


def threads(wildcards):
    """Smoke runs are small, so as many at a time as there are cores; of the others one has all of them."""
    return 1 if PROFILE == "smoke" else workflow.cores if workflow.local_exec else 2


GPU = int(PROFILE == "full")


# The stamp says that Snakemake saw the run end. The run itself is no output, because Snakemake removes
# outputs of a job that a scheduler calls failed, even if it was finished just over its time. Nor does the
# notebook's date matter: whether its code is that of the run, reproduce.freshness has said above.
rule notebook:
    input:
        notebook=ancient("notebooks/{name}.ipynb"),
        trainings=trainings,
    output:
        touch("runs/{profile}/{name}.done"),
    threads: threads
    resources:
        gpu=GPU,
    shell:
        "{PYTHON:q} -m reproduce run {wildcards.name} --profile {wildcards.profile} --threads {threads} --wait"


rule training:
    output:
        touch("runs/trainings/{key}.done"),
    params:
        chapter=lambda wildcards: around.chapter_with(wildcards.key, PROFILE),
    threads: threads
    resources:
        gpu=GPU,
    shell:
        "{PYTHON:q} -m reproduce trainings run {params.chapter} --profile {PROFILE} --key {wildcards.key}"
        " --threads {threads}"


onstart:
    if not workflow.local_exec:
        around.watch_queue()
    if PROFILE != "smoke":
        for line in around.missing_by_hand(NAMES):
            print(line, file=sys.stderr, flush=True)
