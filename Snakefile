# One rule for every notebook: make reproduce, or by hand
#   snakemake --cores 2 --config profile=quick only=a1_q1_softmax_regression
# A second run does nothing; an edited notebook reruns itself and what needs it.
import sys

sys.path.insert(0, workflow.basedir)
from cifar_utils import params, record, runner

PROFILE = config.get("profile", "smoke")
if PROFILE not in params.PROFILES:
    raise WorkflowError(f"There is no profile {PROFILE!r}; expected one of {', '.join(params.PROFILES)}.")
NAMES = runner.notebooks()
if config.get("only"):
    params.notebook_path(config["only"])
    NAMES = [config["only"]]


wildcard_constraints:
    name="[a-z0-9_]+",
    profile="|".join(params.PROFILES),


rule all:
    default_target: True
    input:
        expand("runs/{profile}/{name}.json", profile=PROFILE, name=NAMES),


def settings(wildcards):
    return [] if wildcards.profile == "smoke" else [f"params/{wildcards.profile}/{wildcards.name}.yml"]


def code(wildcards):
    return [str(p.relative_to(runner.root())) for p in record.code_files(wildcards.name)]


def earlier_chapters(wildcards):
    return [f"runs/{wildcards.profile}/{other}.json" for other in runner.needs().get(wildcards.name, [])]


rule notebook:
    input:
        notebook="notebooks/{name}.ipynb",
        settings=settings,
        claims=lambda w: f"claims/{w.name.split('_')[0]}.yml",
        code=code,
        needs=earlier_chapters,
    output:
        "runs/{profile}/{name}.ipynb",
        "runs/{profile}/{name}.json",
    threads: workflow.cores or 1
    resources:
        gpu=lambda w: int(w.profile == "full"),
    shell:
        "{sys.executable} -m cifar_utils run {wildcards.name} --profile {wildcards.profile}"
