// Result codes, one number a record. Names and numbers are those of pyledger/types.py: below 1000 what TigerBeetle
// documents for create_accounts and create_transfers, from 1000 on what concerns authority.
#pragma once

#include <cstdint>

namespace pyledger::engine {

namespace account_result {
inline constexpr uint32_t kCreated = 0;
inline constexpr uint32_t kLinkedEventFailed = 1;
inline constexpr uint32_t kLinkedEventChainOpen = 2;
inline constexpr uint32_t kTimestampMustBeZero = 3;
inline constexpr uint32_t kReservedField = 4;
inline constexpr uint32_t kReservedFlag = 5;
inline constexpr uint32_t kIdMustNotBeZero = 6;
inline constexpr uint32_t kIdMustNotBeIntMax = 7;
inline constexpr uint32_t kFlagsAreMutuallyExclusive = 8;
inline constexpr uint32_t kDebitsPendingMustBeZero = 9;
inline constexpr uint32_t kDebitsPostedMustBeZero = 10;
inline constexpr uint32_t kCreditsPendingMustBeZero = 11;
inline constexpr uint32_t kCreditsPostedMustBeZero = 12;
inline constexpr uint32_t kLedgerMustNotBeZero = 13;
inline constexpr uint32_t kCodeMustNotBeZero = 14;
inline constexpr uint32_t kExistsWithDifferentFlags = 15;
inline constexpr uint32_t kExistsWithDifferentUserData128 = 16;
inline constexpr uint32_t kExistsWithDifferentUserData64 = 17;
inline constexpr uint32_t kExistsWithDifferentUserData32 = 18;
inline constexpr uint32_t kExistsWithDifferentLedger = 19;
inline constexpr uint32_t kExistsWithDifferentCode = 20;
inline constexpr uint32_t kExists = 21;
inline constexpr uint32_t kImportedEventExpected = 22;
inline constexpr uint32_t kImportedEventNotExpected = 23;
inline constexpr uint32_t kImportedEventTimestampOutOfRange = 24;
inline constexpr uint32_t kImportedEventTimestampMustNotAdvance = 25;
inline constexpr uint32_t kImportedEventTimestampMustNotRegress = 26;
inline constexpr uint32_t kKeyNotValidAtHeight = 1003;
inline constexpr uint32_t kRegistrarOfOtherInstitution = 1030;
inline constexpr uint32_t kOwnerUnknown = 1031;
inline constexpr uint32_t kOwnerOfOtherInstitution = 1032;
inline constexpr uint32_t kExistsWithDifferentOwner = 1033;
inline constexpr uint32_t kExistsWithDifferentInstitution = 1034;
}  // namespace account_result

namespace transfer_result {
inline constexpr uint32_t kCreated = 0;
inline constexpr uint32_t kLinkedEventFailed = 1;
inline constexpr uint32_t kLinkedEventChainOpen = 2;
inline constexpr uint32_t kTimestampMustBeZero = 3;
inline constexpr uint32_t kReservedFlag = 4;
inline constexpr uint32_t kIdMustNotBeZero = 5;
inline constexpr uint32_t kIdMustNotBeIntMax = 6;
inline constexpr uint32_t kFlagsAreMutuallyExclusive = 7;
inline constexpr uint32_t kDebitAccountIdMustNotBeZero = 8;
inline constexpr uint32_t kDebitAccountIdMustNotBeIntMax = 9;
inline constexpr uint32_t kCreditAccountIdMustNotBeZero = 10;
inline constexpr uint32_t kCreditAccountIdMustNotBeIntMax = 11;
inline constexpr uint32_t kAccountsMustBeDifferent = 12;
inline constexpr uint32_t kPendingIdMustBeZero = 13;
inline constexpr uint32_t kPendingIdMustNotBeZero = 14;
inline constexpr uint32_t kPendingIdMustNotBeIntMax = 15;
inline constexpr uint32_t kPendingIdMustBeDifferent = 16;
inline constexpr uint32_t kTimeoutReservedForPendingTransfer = 17;
inline constexpr uint32_t kLedgerMustNotBeZero = 19;
inline constexpr uint32_t kCodeMustNotBeZero = 20;
inline constexpr uint32_t kDebitAccountNotFound = 21;
inline constexpr uint32_t kCreditAccountNotFound = 22;
inline constexpr uint32_t kAccountsMustHaveTheSameLedger = 23;
inline constexpr uint32_t kTransferMustHaveTheSameLedgerAsAccounts = 24;
inline constexpr uint32_t kPendingTransferNotFound = 25;
inline constexpr uint32_t kPendingTransferNotPending = 26;
inline constexpr uint32_t kPendingTransferHasDifferentDebitAccountId = 27;
inline constexpr uint32_t kPendingTransferHasDifferentCreditAccountId = 28;
inline constexpr uint32_t kPendingTransferHasDifferentLedger = 29;
inline constexpr uint32_t kPendingTransferHasDifferentCode = 30;
inline constexpr uint32_t kExceedsPendingTransferAmount = 31;
inline constexpr uint32_t kPendingTransferHasDifferentAmount = 32;
inline constexpr uint32_t kPendingTransferAlreadyPosted = 33;
inline constexpr uint32_t kPendingTransferAlreadyVoided = 34;
inline constexpr uint32_t kPendingTransferExpired = 35;
inline constexpr uint32_t kExistsWithDifferentFlags = 36;
inline constexpr uint32_t kExistsWithDifferentDebitAccountId = 37;
inline constexpr uint32_t kExistsWithDifferentCreditAccountId = 38;
inline constexpr uint32_t kExistsWithDifferentAmount = 39;
inline constexpr uint32_t kExistsWithDifferentPendingId = 40;
inline constexpr uint32_t kExistsWithDifferentUserData128 = 41;
inline constexpr uint32_t kExistsWithDifferentUserData64 = 42;
inline constexpr uint32_t kExistsWithDifferentUserData32 = 43;
inline constexpr uint32_t kExistsWithDifferentTimeout = 44;
inline constexpr uint32_t kExistsWithDifferentCode = 45;
inline constexpr uint32_t kExists = 46;
inline constexpr uint32_t kOverflowsDebitsPending = 47;
inline constexpr uint32_t kOverflowsCreditsPending = 48;
inline constexpr uint32_t kOverflowsDebitsPosted = 49;
inline constexpr uint32_t kOverflowsCreditsPosted = 50;
inline constexpr uint32_t kOverflowsDebits = 51;
inline constexpr uint32_t kOverflowsCredits = 52;
inline constexpr uint32_t kOverflowsTimeout = 53;
inline constexpr uint32_t kExceedsCredits = 54;
inline constexpr uint32_t kExceedsDebits = 55;
inline constexpr uint32_t kImportedEventExpected = 56;
inline constexpr uint32_t kImportedEventNotExpected = 57;
inline constexpr uint32_t kImportedEventTimestampOutOfRange = 58;
inline constexpr uint32_t kImportedEventTimestampMustNotAdvance = 59;
inline constexpr uint32_t kImportedEventTimestampMustNotRegress = 60;
inline constexpr uint32_t kImportedEventTimestampMustPostdateDebitAccount = 61;
inline constexpr uint32_t kImportedEventTimestampMustPostdateCreditAccount = 62;
inline constexpr uint32_t kImportedEventTimeoutMustBeZero = 63;
inline constexpr uint32_t kClosingTransferMustBePending = 64;
inline constexpr uint32_t kDebitAccountAlreadyClosed = 65;
inline constexpr uint32_t kCreditAccountAlreadyClosed = 66;
inline constexpr uint32_t kExistsWithDifferentLedger = 67;
inline constexpr uint32_t kIdAlreadyFailed = 68;
inline constexpr uint32_t kSignatureMissing = 1000;
inline constexpr uint32_t kSignerUnknown = 1001;
inline constexpr uint32_t kSignatureInvalid = 1002;
inline constexpr uint32_t kKeyNotValidAtHeight = 1003;
inline constexpr uint32_t kSignerLacksRole = 1004;
inline constexpr uint32_t kSignerNotAuthorised = 1005;
inline constexpr uint32_t kMandateExpired = 1006;
inline constexpr uint32_t kMandateExceeded = 1007;
inline constexpr uint32_t kClosingNotAuthorised = 1008;
inline constexpr uint32_t kControllerReservedForPendingTransfer = 1009;
inline constexpr uint32_t kControllerNotValid = 1010;
inline constexpr uint32_t kExistsWithDifferentController = 1011;
inline constexpr uint32_t kAttestationInvalid = 1020;
inline constexpr uint32_t kAttestationReplayed = 1021;
inline constexpr uint32_t kAttestationOutOfOrder = 1022;
inline constexpr uint32_t kAttestationSignerOfOtherInstitution = 1023;
inline constexpr uint32_t kAttestationForeignAccount = 1024;
}  // namespace transfer_result

namespace authority_result {
inline constexpr uint32_t kOk = 0;
inline constexpr uint32_t kSignatureMissing = 1000;
inline constexpr uint32_t kSignerUnknown = 1001;
inline constexpr uint32_t kSignatureInvalid = 1002;
inline constexpr uint32_t kKeyNotValidAtHeight = 1003;
inline constexpr uint32_t kSignerLacksRole = 1004;
inline constexpr uint32_t kSignerNotAuthorised = 1005;
inline constexpr uint32_t kControllerNotValid = 1010;
inline constexpr uint32_t kRegistrarOfOtherInstitution = 1030;
inline constexpr uint32_t kOwnerUnknown = 1031;
inline constexpr uint32_t kOwnerOfOtherInstitution = 1032;
inline constexpr uint32_t kAccountNotFound = 1040;
inline constexpr uint32_t kPendingTransferNotLive = 1041;
inline constexpr uint32_t kPendingTransferHasNoController = 1042;
inline constexpr uint32_t kHolderUnknown = 1043;
inline constexpr uint32_t kKeyUnknown = 1044;
inline constexpr uint32_t kLastAttestationKey = 1045;
inline constexpr uint32_t kLastGovernanceKey = 1046;
}  // namespace authority_result

}  // namespace pyledger::engine
