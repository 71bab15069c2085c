; Pilatus 300K: 619 x 487 (ss x fs) pixels of 172 micron, three modules of 195 x 487 with
; gaps of 17 rows; the beam near its lower edge.

; Defaults; a dataset brings its own camera length (m) and photon energy (eV).
clen = 0.15
photon_energy = 8048
adu_per_photon = 1
res = 5813.95348837   ; pixels a metre
max_adu = 1000000

data = /entry/data/data
dim0 = %
dim1 = ss
dim2 = fs

; The pixel mask that lies in every shard: 0 is live, bit 0 a gap
mask = /entry/instrument/detector/pixel_mask
mask_good = 0x0
mask_bad = 0x1

m0/min_fs = 0
m0/max_fs = 486
m0/min_ss = 0
m0/max_ss = 194
m0/corner_x = -243.5
m0/corner_y = -60
m0/fs = x
m0/ss = y

m1/min_fs = 0
m1/max_fs = 486
m1/min_ss = 212
m1/max_ss = 406
m1/corner_x = -243.5
m1/corner_y = 152
m1/fs = x
m1/ss = y

m2/min_fs = 0
m2/max_fs = 486
m2/min_ss = 424
m2/max_ss = 618
m2/corner_x = -243.5
m2/corner_y = 364
m2/fs = x
m2/ss = y
