; Pilatus 1M: 1043 x 981 (ss x fs) pixels of 172 micron, ten modules of 195 x 487 in 5 x 2,
; with gaps of 17 rows and 7 columns between them; the beam off its centre.

; Defaults; a dataset brings its own camera length (m) and photon energy (eV).
clen = 0.2
photon_energy = 12000
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
m0/corner_x = -430
m0/corner_y = -610
m0/fs = x
m0/ss = y

m1/min_fs = 494
m1/max_fs = 980
m1/min_ss = 0
m1/max_ss = 194
m1/corner_x = 64
m1/corner_y = -610
m1/fs = x
m1/ss = y

m2/min_fs = 0
m2/max_fs = 486
m2/min_ss = 212
m2/max_ss = 406
m2/corner_x = -430
m2/corner_y = -398
m2/fs = x
m2/ss = y

m3/min_fs = 494
m3/max_fs = 980
m3/min_ss = 212
m3/max_ss = 406
m3/corner_x = 64
m3/corner_y = -398
m3/fs = x
m3/ss = y

m4/min_fs = 0
m4/max_fs = 486
m4/min_ss = 424
m4/max_ss = 618
m4/corner_x = -430
m4/corner_y = -186
m4/fs = x
m4/ss = y

m5/min_fs = 494
m5/max_fs = 980
m5/min_ss = 424
m5/max_ss = 618
m5/corner_x = 64
m5/corner_y = -186
m5/fs = x
m5/ss = y

m6/min_fs = 0
m6/max_fs = 486
m6/min_ss = 636
m6/max_ss = 830
m6/corner_x = -430
m6/corner_y = 26
m6/fs = x
m6/ss = y

m7/min_fs = 494
m7/max_fs = 980
m7/min_ss = 636
m7/max_ss = 830
m7/corner_x = 64
m7/corner_y = 26
m7/fs = x
m7/ss = y

m8/min_fs = 0
m8/max_fs = 486
m8/min_ss = 848
m8/max_ss = 1042
m8/corner_x = -430
m8/corner_y = 238
m8/fs = x
m8/ss = y

m9/min_fs = 494
m9/max_fs = 980
m9/min_ss = 848
m9/max_ss = 1042
m9/corner_x = 64
m9/corner_y = 238
m9/fs = x
m9/ss = y
