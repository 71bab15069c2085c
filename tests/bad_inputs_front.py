"""The catalogue of bad inputs: projects, the doctor, completions, and where models looked."""

import numpy as np
from bad_inputs import (
    BEAM,
    CARD,
    PNG,
    SPLIT,
    TASK,
    WEIGHTS,
    bad,
    card,
    copied,
    halved,
    lost,
    put,
    table,
)

SAID = "evaluation/hit/predictions.parquet"

FRONT = [
    bad("init", "folder of another", "config: is there and not empty; choose", **{"": "config"}),
    bad("init", "file for a folder", f"{BEAM}: is there and not empty; ch", **{"": BEAM}),
    bad("init", "folder below a file", f"{BEAM}.*cannot be written .*; ", **{"": f"{BEAM}/new"}),
    bad("init", "no folder", "required: FOLDER; see", **{"": None}),
    bad(
        "init",
        "source into a folder of another",
        "models: is there and not empty; choose",
        **{"": "models", "source": True},
    ),
    bad(
        "init",
        "update of no project",
        "config: holds no Snakefile; leave",
        **{"": "config", "update": True},
    ),
    bad(
        "init",
        "update of a folder that is not there",
        "nowhere: holds no Snakefile; leave",
        **{"": "nowhere", "update": True},
    ),
    bad("init", "update and source", "not allowed with.*; see", update=True, source=True),
    bad("completion", "unknown shell", "invalid choice: 'powershell'", **{"": "powershell"}),
    bad("completion", "misspelt shell", "'bsh'; .*did you mean bash.; see", **{"": "bsh"}),
    bad("diff", "misspelt option", "--jsn; did you mean --json.; see", jsn=True),
    bad("init", "misspelt option", "--updat3; did you mean --update.; see", updat3=True),
    bad("completion", "no shell", "required: shell; see", **{"": None}),
    bad("doctor", "value of a switch", "--json: ignored explicit.*; see", **{"": "--json=yes"}),
]

LOOKED = [
    *(
        bad("saliency", name, says, spoil)
        for name, says, spoil in [
            ("missing predictions", f"{SAID}: no such table; evaluate", lost(SAID)),
            ("truncated predictions", f"{SAID}: is not a whole Parquet", halved(SAID)),
            ("predictions that are PNG", f"{SAID}: is not a whole Parquet", put(SAID, PNG)),
            ("words for predictions", f"{SAID}: is not a whole Parquet", put(SAID, "dataset")),
            (
                "predictions of other frames",
                f"{SAID}: frame .* of dataset . is no test frame of {SPLIT}; evaluate",
                table(SAID, "index", lambda c: np.asarray(c) + 5000),
            ),
            ("missing split", f"{SPLIT}: no such table; remake", lost(SPLIT)),
            ("missing card", f"{CARD}: no such file", lost(CARD)),
            ("card of another target", f"{CARD}: target is ", card("target", "camera_length")),
            ("truncated weights", f"{WEIGHTS}: does not hold this model; train", halved(WEIGHTS)),
            ("missing task", f"{TASK}: no such file", lost(TASK)),
        ]
    ),
    bad("saliency", "table of a split", f"{SAID}: lacks the column .*; ev", copied(SPLIT, SAID)),
    bad("saliency", "no such evaluation", "none/pred.*: no such table; ev", evaluation="none"),
    bad("saliency", "no threads", "--threads: 0 is not", threads=0),
    bad("saliency", "output below a file", "cannot be written", output=f"{BEAM}/new"),
]
