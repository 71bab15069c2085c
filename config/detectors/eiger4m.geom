; Eiger 4M: 2167 x 2070 (ss x fs) pixels of 75 micron, eight modules of 514 x 1030 in 4 x 2,
; with gaps of 37 rows and 10 columns between them; the beam at the centre of the detector.

; Defaults; a dataset brings its own camera length (m) and photon energy (eV).
clen = 0.15
photon_energy = 7000
bandwidth = 0.01

adu_per_photon = 1
res = 13333.333333333334   ; pixels a metre
max_adu = 65535            ; 16-bit counters

data = /entry/data/data
dim0 = %
dim1 = ss
dim2 = fs

; The pixel mask that lies in every shard: 0 is live, bit 0 a gap
mask = /entry/instrument/detector/pixel_mask
mask_good = 0x0
mask_bad = 0x1

m0/min_fs = 0
m0/max_fs = 1029
m0/min_ss = 0
m0/max_ss = 513
m0/corner_x = -1035.0
m0/corner_y = -1083.5
m0/fs = +1.0x +0.0y
m0/ss = +0.0x +1.0y

m1/min_fs = 1040
m1/max_fs = 2069
m1/min_ss = 0
m1/max_ss = 513
m1/corner_x = 5.0
m1/corner_y = -1083.5
m1/fs = +1.0x +0.0y
m1/ss = +0.0x +1.0y

m2/min_fs = 0
m2/max_fs = 1029
m2/min_ss = 551
m2/max_ss = 1064
m2/corner_x = -1035.0
m2/corner_y = -532.5
m2/fs = +1.0x +0.0y
m2/ss = +0.0x +1.0y

m3/min_fs = 1040
m3/max_fs = 2069
m3/min_ss = 551
m3/max_ss = 1064
m3/corner_x = 5.0
m3/corner_y = -532.5
m3/fs = +1.0x +0.0y
m3/ss = +0.0x +1.0y

m4/min_fs = 0
m4/max_fs = 1029
m4/min_ss = 1102
m4/max_ss = 1615
m4/corner_x = -1035.0
m4/corner_y = 18.5
m4/fs = +1.0x +0.0y
m4/ss = +0.0x +1.0y

m5/min_fs = 1040
m5/max_fs = 2069
m5/min_ss = 1102
m5/max_ss = 1615
m5/corner_x = 5.0
m5/corner_y = 18.5
m5/fs = +1.0x +0.0y
m5/ss = +0.0x +1.0y

m6/min_fs = 0
m6/max_fs = 1029
m6/min_ss = 1653
m6/max_ss = 2166
m6/corner_x = -1035.0
m6/corner_y = 569.5
m6/fs = +1.0x +0.0y
m6/ss = +0.0x +1.0y

m7/min_fs = 1040
m7/max_fs = 2069
m7/min_ss = 1653
m7/max_ss = 2166
m7/corner_x = 5.0
m7/corner_y = 569.5
m7/fs = +1.0x +0.0y
m7/ss = +0.0x +1.0y

rigid_group_modules = m0,m1,m2,m3,m4,m5,m6,m7
rigid_group_collection_detector = modules
