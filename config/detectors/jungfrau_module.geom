; One Jungfrau module: 512 x 1024 (ss x fs) pixels of 75 micron, eight chips of 256 x 256 without
; gaps in the array; the beam beyond its corner.

; Defaults; a dataset brings its own camera length (m) and photon energy (eV).
clen = 0.12
photon_energy = 9500
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
m0/corner_x = 60
m0/corner_y = -80
m0/fs = x
m0/ss = y
