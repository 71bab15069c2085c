; A CCD behind a fibre taper: 1024 x 1024 pixels of 100 micron, without gaps; the beam at the
; centre.

; Defaults; a dataset brings its own camera length (m) and photon energy (eV).
clen = 0.12
photon_energy = 13000
adu_per_photon = 1
res = 10000   ; pixels a metre
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
m0/max_fs = 1023
m0/min_ss = 0
m0/max_ss = 1023
m0/corner_x = -512
m0/corner_y = -512
m0/fs = x
m0/ss = y
