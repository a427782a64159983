FILESEXTRAPATHS:prepend:dcu-board := "${THISDIR}/files:"

require ${@'dcu-linux.inc' if 'dcu-board' in d.getVar('MACHINEOVERRIDES').split(':') else ''}
