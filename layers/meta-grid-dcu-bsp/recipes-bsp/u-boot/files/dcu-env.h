/* Included before every source (KCPPFLAGS=-include): what the environment's Kconfig symbols cannot say.
 *
 * The stored environment may set these variables and no other (w); what does not parse as its type (s: text, d: decimal)
 * is left out. Linux writes them with fw_setenv; everything else, bootcmd above all, is what was compiled in (dcu.env).
 */
#define CFG_ENV_FLAGS_LIST_STATIC \
	"slot:sw,upgrade_available:dw,bootcount:dw,ustate:dw,rollback_reason:sw,boot_failures:dw"

/* The bench's environment is on an SD card behind PCI: PCI must be there before the environment is read. */
#define CONFIG_SYS_EARLY_PCI_INIT 1
