; Two small modules of large pixels, beside each other with a gap of 6 columns.
clen = 0.06
photon_energy = 7000
adu_per_photon = 1
max_adu = 65535
res = 2000
data = /entry/data/data
dim0 = %
dim1 = ss
dim2 = fs

left/min_fs = 0
left/max_fs = 79
left/min_ss = 0
left/max_ss = 127
left/corner_x = -83
left/corner_y = -64
left/fs = x
left/ss = y

right/min_fs = 86
right/max_fs = 165
right/min_ss = 0
right/max_ss = 127
right/corner_x = 3
right/corner_y = -64
right/fs = x
right/ss = y
