#ifndef EXPLORER_APP_INTERRUPT_H_
#define EXPLORER_APP_INTERRUPT_H_

namespace ulpscope {

// What SIGINT (Ctrl-C) and SIGTERM do; where the program was started with one
// of them ignored, that one stays so. One call at a time, from one thread.

// From here on the first of them makes Interrupted() true, and the work is to
// end by itself, within 2 s. A second one, more than half a second later, ends
// the program at once, as it would without this; until then it is taken for the
// same one, as what forwards signals (timeout, sudo) sends them to a program
// that has them already. SIGPIPE is ignored: who reads the output may have been
// ended by the same Ctrl-C, and the files are yet to be written.
void CatchInterrupts();

// From here on they end the program at once: "explorer: stopped by Ctrl-C" and
// `note` on stderr, and the signal's exit code. The text must stay where it is.
void EndOnInterrupt(const char* note);

bool Interrupted();

// Of the signal that was caught: "Ctrl-C" or "SIGTERM", and 128 + its number as
// of a shell's commands; "" and 0 for none.
const char* InterruptName();
int InterruptExitCode();

}  // namespace ulpscope

#endif  // EXPLORER_APP_INTERRUPT_H_
