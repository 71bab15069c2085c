"""A dataset for machines: Croissant 1.1 of MLCommons, as JSON-LD.

Vocabulary and context: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from spotmill import __version__
from spotmill.config import Publication
from spotmill.formats.tables import MANIFEST, SPOTS
from spotmill.provenance.facts import Facts
from spotmill.provenance.publication import licence_url

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
FORMATS = {
    ".h5": "application/x-hdf5",
    ".parquet": "application/x-parquet",
    ".geom": "text/plain",
}
MEANINGS = {
    "overlay": "Images of Bragg photons and background, [frame, ss, fs] in photons",
    "peaks": "Images of the Bragg photons alone, [frame, ss, fs] in photons",
    "labels": "Images of labels, 1 where there are Bragg photons, [frame, ss, fs]",
    "truth": "Table of the true spots: indices, positions, photons, resolution",
}


def data_type(kind: pa.DataType) -> str:
    """Return the Croissant type of a column."""
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "cr:Int64" if kind.bit_width == 64 else "cr:Int32"
    return "cr:Float64" if pa.types.is_floating(kind) else "sc:Text"


def describe(
    facts: Facts, description: str, cite_as: str, publication: Publication, folder: Path
) -> dict[str, Any]:
    """Return the Croissant description of a dataset.

    Parameters
    ----------
    description, cite_as
        What it is, and how to cite it.
    folder
        Of the description; files are named from there.
    """
    out: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": f"spotmill_{facts.name}",
        "description": description,
        "version": __version__,
        "citeAs": cite_as,
        "url": publication.url or "https://example.org/not-published",
        "keywords": ["serial crystallography", "X-ray diffraction", "simulation"],
        "isLiveDataset": False,
    }
    licence = licence_url(publication.licence)
    if licence:
        out["license"] = licence
    if publication.date:
        out["datePublished"] = publication.date
    if publication.creators:
        out["creator"] = [{"@type": "sc:Person", "name": name} for name in publication.creators]
    if not publication.url:
        del out["url"]
    out["distribution"] = file_objects(facts, folder)
    manifest = next(name for name in facts.files if name == facts.manifest_file)
    out["recordSet"] = [frames_record(manifest), shards_record(facts), *spots_records(facts)]
    return out


def file_objects(facts: Facts, folder: Path) -> list[dict[str, Any]]:
    """Return every file with its digest."""
    meaning = {
        name: told
        for column, told in MEANINGS.items()
        for name in set(facts.manifest[column]) - {""}
    }
    objects: list[dict[str, Any]] = []
    for name, digest in facts.files.items():
        one = {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "contentUrl": Path(os.path.relpath(name, folder)).as_posix(),
            "contentSize": f"{Path(name).stat().st_size} B",
            "encodingFormat": FORMATS.get(Path(name).suffix, "application/octet-stream"),
            "sha256": digest,
        }
        if name in meaning:
            one["description"] = meaning[name]
        objects.append(one)
    return objects


def frames_record(manifest: str) -> dict[str, Any]:
    """Return the record set of the frames: the manifest's columns."""
    return {
        "@type": "cr:RecordSet",
        "@id": "frames",
        "name": "frames",
        "description": "One record a frame, with its labels and files.",
        "key": [{"@id": "frames/dataset"}, {"@id": "frames/index"}],
        "field": _fields("frames", MANIFEST, {"fileObject": {"@id": manifest}}),
    }


def spots_records(facts: Facts) -> list[dict[str, Any]]:
    """Return a record set of the true spots of every shard of patterns."""
    return [
        {
            "@type": "cr:RecordSet",
            "@id": f"spots-{Path(name).stem}",
            "name": f"spots-{Path(name).stem}",
            "description": "One record a true spot of this shard; `index` names its frame.",
            "field": _fields(f"spots-{Path(name).stem}", SPOTS, {"fileObject": {"@id": name}}),
        }
        for name in sorted(set(facts.manifest["truth"]) - {""})
    ]


def shards_record(facts: Facts) -> dict[str, Any]:
    """Return the record set of the shards, its records included."""
    rows = []
    for shard, part in facts.manifest.groupby("shard", sort=True):
        first = part.iloc[0]
        row: dict[str, Any] = {
            "shards/shard": str(shard),
            "shards/kind": first["kind"],
            "shards/frames": len(part),
            "shards/first": int(part["index"].min()),
        }
        rows.append(row | {f"shards/{name}": first[name] for name in MEANINGS})
    kinds = {"frames": "sc:Integer", "first": "sc:Integer"}
    told: Mapping[str, str] = MEANINGS | {
        "shard": "name of the shard",
        "kind": "crystal or empty",
        "frames": "number of frames",
        "first": "index of the first frame",
    }
    return {
        "@type": "cr:RecordSet",
        "@id": "shards",
        "name": "shards",
        "description": "One record a shard: the HDF5 files (NeXus layout) that hold its frames.",
        "field": [
            {
                "@type": "cr:Field",
                "@id": name,
                "name": name,
                "description": told[name.partition("/")[2]],
                "dataType": kinds.get(name.partition("/")[2], "sc:Text"),
            }
            for name in rows[0]
        ],
        "data": rows,
    }


def _fields(record: str, schema: pa.Schema, source: dict[str, Any]) -> list[dict[str, Any]]:
    fields = []
    for column in schema:
        unit = column.metadata[b"units"].decode()
        meaning = column.metadata[b"meaning"].decode()
        told = ", ".join(part for part in (meaning, unit) if part)
        field = {
            "@type": "cr:Field",
            "@id": f"{record}/{column.name}",
            "name": f"{record}/{column.name}",
            "dataType": data_type(column.type),
            "source": source | {"extract": {"column": column.name}},
        }
        if told:
            field["description"] = told
        fields.append(field)
    return fields
