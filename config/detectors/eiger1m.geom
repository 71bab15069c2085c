; Eiger 1M: 1065 x 1030 (ss x fs) pixels of 75 micron, two modules of 514 x 1030 with a gap
; of 37 rows; the beam at the centre of the detector.

; Defaults; a dataset brings its own camera length (m) and photon energy (eV).
clen = 0.1
photon_energy = 9000
adu_per_photon = 1
res = 13333.3333333   ; pixels a metre
max_adu = 65535

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
m0/corner_x = -515
m0/corner_y = -532.5
m0/fs = x
m0/ss = y

m1/min_fs = 0
m1/max_fs = 1029
m1/min_ss = 551
m1/max_ss = 1064
m1/corner_x = -515
m1/corner_y = 18.5
m1/fs = x
m1/ss = y
