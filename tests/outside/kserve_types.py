"""Whether manifests of KServe fit its own Python types: FILE…; every field is one that they have, of its kind."""

import copy
import re
import sys

import kserve.models
import kubernetes.client.models
import yaml

PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}


def misfits(value, kind, path):
    """Where `value` is no `kind`, as these types write it: `str`, `list[V1Container]`, `Dict[str, str]`, `Optional[int]`."""
    if within := re.fullmatch(r"Optional\[(.+)\]", kind):
        kind = within[1]
    if within := re.fullmatch(r"[lL]ist\[(.+)\]", kind):
        if not isinstance(value, list):
            return [path]
        return [m for i, item in enumerate(value) for m in misfits(item, within[1], f"{path}[{i}]")]
    if within := re.fullmatch(r"[dD]ict[(\[]str, (.+)[)\]]", kind):
        if not isinstance(value, dict):
            return [path]
        return [m for name, item in value.items() for m in misfits(item, within[1], f"{path}.{name}")]
    if kind in PLAIN:
        return [] if isinstance(value, PLAIN[kind]) else [path]
    of = getattr(kserve.models, kind, None) or getattr(kubernetes.client.models, kind)
    if not hasattr(of, "attribute_map"):
        # Quantities and the like.
        return [] if isinstance(value, (str, int)) else [path]
    if not isinstance(value, dict):
        return [path]
    kinds = {of.attribute_map[name]: kind for name, kind in of.openapi_types.items()}
    found = []
    for name, item in value.items():
        found += misfits(item, kinds[name], f"{path}.{name}") if name in kinds else [f"{path}.{name}"]
    return found


def check(manifest):
    version = manifest["apiVersion"].removeprefix("serving.kserve.io/")
    return misfits(manifest, version[0].upper() + version[1:] + manifest["kind"], manifest["kind"])


manifests = [yaml.safe_load(open(file)) for file in sys.argv[1:]]
for manifest in manifests:
    assert not check(manifest), check(manifest)
    # The check can fail.
    other = copy.deepcopy(manifest)
    other["spec"]["nonsense"] = 1
    assert check(other) == [manifest["kind"] + ".spec.nonsense"], check(other)
print(f"{len(manifests)} manifests fit KServe's types")
