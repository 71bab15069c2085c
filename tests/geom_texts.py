"""Geometry files that tests begin with."""

from pathlib import Path

from spotmill.formats.geom import parse_geometry

ROOT = Path(__file__).resolve().parent.parent
EIGER = ROOT / "config/detectors/eiger4m.geom"

PLAIN = """\
clen = 0.1
photon_energy = 8000
adu_per_photon = 1
res = 10000
a/min_fs = 0
a/max_fs = 9
a/min_ss = 0
a/max_ss = 7
a/corner_x = -5
a/corner_y = -4
a/fs = x
a/ss = y
"""
SECOND = """\
b/min_fs = 0
b/max_fs = 9
b/min_ss = 8
b/max_ss = 15
b/corner_x = -5
b/corner_y = 6.5
b/fs = +0.0x +1.0y
b/ss = -1.0x +0.0y
"""
EVERYTHING = """\
; every word of the format
clen = /LCLS/detector_1/EncoderValue mm
wavelength = 1.5 A
bandwidth = 2.0e-3
detector_shift_x = 0.5 mm
detector_shift_y = /shift/y m
peak_info_location = /entry_1/result_1
peak_list_type = cxi
badrow_direction = y
rail_direction = z
rigid_group_q0 = a,b
rigid_group_collection_all = q0
adu_per_eV = 0.001
res = 9090.91 ; 110 microns
data = /entry_1/%/data
dim0 = %
dim1 = 3
dim2 = ss
dim3 = fs
mask = /entry_1/%/mask
mask_file = /somewhere/bad pixels.h5
mask_good = 0x0000
mask_bad = 0xffff
mask3_data = /static
mask3_goodbits = 1
saturation_map = /sat
saturation_map_file = sat.h5
flag_lessthan = -100
flag_morethan = 1e4
max_adu = 12000
a/min_fs = 0.0
a/max_fs = 193.0
a/min_ss = 0
a/max_ss = 184
a/corner_x = 443.819
a/corner_y = -49.8719
a/coffset = 0.573224
a/fs = +0.004806x +0.999989y
a/ss = -0.999989x +0.004806y - 0.1z
a/flag_equal = 0
coffset = 0.5
b/min_fs = 0
b/max_fs = 193
b/min_ss = 185
b/max_ss = 369
b/corner_x = 239.8
b/corner_y = -49.3504
b/fs = -x
b/ss = -.5e0y+0.1z
b/adu_per_photon = 12
b/no_index = true
b/mask_edge_pixels = 2
bad_jet/min_x = -15.0
bad_jet/max_x = +15.0
bad_jet/min_y = 71.3
bad_jet/max_y = 159.3
bad_row/min_fs = 3
bad_row/max_fs = 9
bad_row/min_ss = 185
bad_row/max_ss = 185
bad_row/panel = b
group_q0 = a
group_all = q0,b
"""


def parse(text):
    return parse_geometry(text, "det.geom")


def bad(name, **limits):
    return "".join(f"{name}/{key} = {value}\n" for key, value in limits.items())
