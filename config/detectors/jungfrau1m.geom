; Jungfrau 1M: two modules of 512 x 1024 pixels of 75 micron, stacked in the array, 36 rows apart
; and 9 columns out of line in space; the beam between them.

; Defaults; a dataset brings its own camera length (m) and photon energy (eV).
clen = 0.1
photon_energy = 11000
adu_per_photon = 1
res = 13333.3333333   ; pixels a metre
max_adu = 11000

data = /entry/data/data
dim0 = %
dim1 = ss
dim2 = fs

; The pixel mask that lies in every shard: 0 is live, bit 0 a gap
mask = /entry/instrument/detector/pixel_mask
mask_good = 0x0
mask_bad = 0x1

m0/min_fs = 0
m0/max_fs = 1023
m0/min_ss = 0
m0/max_ss = 511
m0/corner_x = -512
m0/corner_y = -530
m0/fs = x
m0/ss = y

m1/min_fs = 0
m1/max_fs = 1023
m1/min_ss = 512
m1/max_ss = 1023
m1/corner_x = -503
m1/corner_y = 18
m1/fs = x
m1/ss = y
