// What a posting or voiding transfer takes over from the pending one.
#pragma once

#include "engine/records.h"

namespace pyledger::engine {

// The transfer with what it left open taken from the pending one.
inline Transfer filled_from(const Transfer& transfer, const Transfer& pending) {
  Transfer filled = transfer;
  const u128 open_amount = transfer.flags & transfer_flag::kVoid ? 0 : kU128Max;
  if (filled.debit_account_id == 0) filled.debit_account_id = pending.debit_account_id;
  if (filled.credit_account_id == 0) filled.credit_account_id = pending.credit_account_id;
  if (filled.amount == open_amount) filled.amount = pending.amount;
  if (filled.user_data_128 == 0) filled.user_data_128 = pending.user_data_128;
  if (filled.user_data_64 == 0) filled.user_data_64 = pending.user_data_64;
  if (filled.user_data_32 == 0) filled.user_data_32 = pending.user_data_32;
  if (filled.ledger == 0) filled.ledger = pending.ledger;
  if (filled.code == 0) filled.code = pending.code;
  return filled;
}

}  // namespace pyledger::engine
