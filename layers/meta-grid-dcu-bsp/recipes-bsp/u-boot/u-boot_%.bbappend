FILESEXTRAPATHS:prepend:dcu-board := "${THISDIR}/files:"

require ${@'dcu-u-boot.inc' if 'dcu-board' in d.getVar('MACHINEOVERRIDES').split(':') else ''}
