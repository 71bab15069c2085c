; Pilatus 2M: 1679 x 1475 (ss x fs) pixels of 172 micron in one array, the gaps of 17 rows and
; 7 columns between its 8 x 3 modules as bad regions; the beam near the centre.

; Defaults; a dataset brings its own camera length (m) and photon energy (eV).
clen = 0.3
photon_energy = 12400
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
m0/max_fs = 1474
m0/min_ss = 0
m0/max_ss = 1678
m0/corner_x = -733
m0/corner_y = -851
m0/fs = x
m0/ss = y

badgap0/panel = m0
badgap0/min_fs = 487
badgap0/max_fs = 493
badgap0/min_ss = 0
badgap0/max_ss = 1678

badgap1/panel = m0
badgap1/min_fs = 981
badgap1/max_fs = 987
badgap1/min_ss = 0
badgap1/max_ss = 1678

badgap2/panel = m0
badgap2/min_fs = 0
badgap2/max_fs = 1474
badgap2/min_ss = 195
badgap2/max_ss = 211

badgap3/panel = m0
badgap3/min_fs = 0
badgap3/max_fs = 1474
badgap3/min_ss = 407
badgap3/max_ss = 423

badgap4/panel = m0
badgap4/min_fs = 0
badgap4/max_fs = 1474
badgap4/min_ss = 619
badgap4/max_ss = 635

badgap5/panel = m0
badgap5/min_fs = 0
badgap5/max_fs = 1474
badgap5/min_ss = 831
badgap5/max_ss = 847

badgap6/panel = m0
badgap6/min_fs = 0
badgap6/max_fs = 1474
badgap6/min_ss = 1043
badgap6/max_ss = 1059

badgap7/panel = m0
badgap7/min_fs = 0
badgap7/max_fs = 1474
badgap7/min_ss = 1255
badgap7/max_ss = 1271

badgap8/panel = m0
badgap8/min_fs = 0
badgap8/max_fs = 1474
badgap8/min_ss = 1467
badgap8/max_ss = 1483
